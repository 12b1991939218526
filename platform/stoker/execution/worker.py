"""One worker: a process that trains its part of a run, and answers questions meanwhile.

The driver knows this class too, and starts its workers before it has loaded any large library itself: what trains is
imported where it runs.
"""

import importlib
import socket
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import ray

from stoker.execution.outcome import WorkerResult
from stoker.execution.pulse import STEP_FILE, Beat, Pulse
from stoker.tracking.record import RunFolder

if TYPE_CHECKING:
    from stoker.datasets.loading import LoadedDataset

PRELOADED = ("stoker.execution.part", "torch._dynamo")
"""What the first step would otherwise wait for; every torch optimizer wants torch's compiler."""


class Worker:
    """A process that trains. It loads its libraries before it knows its run, and serves one attempt after the other.

    `take_over`, `address`, `ask`, `beat` and `stacks` are called while the others work, in threads of their own.
    """

    def __init__(self) -> None:
        self._pulse = Pulse()
        self._kept: dict[Path, LoadedDataset] = {}
        """The data of the run that it served last."""
        self._needed = threading.Event()

    def warm_up(self) -> None:
        """Load the libraries."""
        for module in PRELOADED:
            importlib.import_module(module)

    def stand_by(self) -> None:
        """Load the libraries and wait for the death of another worker."""
        self.warm_up()
        self._needed.wait()

    def take_over(self) -> None:
        """End the wait."""
        self._needed.set()

    def run(self, path: str, rank: int, count: int, address: str, attempt: int) -> WorkerResult:
        """Train a run's part of this rank; every failure comes back as a cause."""
        from stoker.execution.part import Part

        folder = RunFolder(Path(path))
        self._pulse = Pulse(folder.path / STEP_FILE if rank == 0 else None)
        try:
            return Part(folder, rank, count, attempt, self._pulse, self._kept).run(address)
        finally:
            self._pulse.end()

    def address(self) -> str:
        """Name a free port of this machine, at which the workers may meet."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            return f"{ray.util.get_node_ip_address()}:{probe.getsockname()[1]}"

    def ask(self, request: str) -> None:
        """Ask the attempt for something: `stop`."""
        self._pulse.request = request

    def beat(self) -> Beat:
        """Give a sign of life."""
        return self._pulse.beat()

    def stacks(self) -> str:
        """Tell what every thread of the process is doing."""
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        parts = []
        for number, frame in sys._current_frames().items():
            parts.append(f"thread {names.get(number, number)}:\n{''.join(traceback.format_stack(frame))}")
        return "\n".join(parts)
