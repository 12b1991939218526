"""One worker: a process that trains its part of a run, and answers questions meanwhile.

The driver knows this class too, and starts its workers before it has loaded any large library itself: what trains is
imported where it runs.
"""

import importlib
import shutil
import socket
import sys
import threading
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import ray
from ray._private.ray_constants import LOG_PREFIX_ACTOR_NAME

from stoker.execution.contract import worker_name
from stoker.execution.heartbeat import STEP_FILE, Beat, Heartbeat, Stage
from stoker.execution.run_store import RunStore, with_saved_results
from stoker.execution.worker_folder import FolderUpdate, folder_update, unpack
from stoker.execution.worker_result import WorkerResult
from stoker.secret_files import load_secret_files
from stoker.tracking.run_folder import RunFolder

if TYPE_CHECKING:
    from stoker.execution.data_cache import DataCache

PRELOADED = ("stoker.execution.engines.table", "torch._dynamo")
"""What the first step would otherwise wait for; every torch optimizer wants torch's compiler."""


class Worker:
    """A process that trains. It loads its libraries before it knows its run, and serves one attempt after the other.

    `stop_waiting`, `address`, `ask`, `beat` and `stacks` are called while the others work, in threads of their own. Who
    shares no disk with the driver has a folder of its own for the run; `news`, `results` and `piece` tell of it.
    """

    def __init__(self) -> None:
        self._heartbeat = Heartbeat()
        self._cache: DataCache | None = None
        self._needed = threading.Event()
        self._own: RunFolder | None = None
        """Its own folder for the run, where it shares no disk with the driver."""

    def warm_up(self) -> None:
        """Load the libraries."""
        for module in PRELOADED:
            importlib.import_module(module)

    def stand_by(self) -> None:
        """Load the libraries and wait for the death of another worker."""
        self.warm_up()
        self._needed.wait()

    def stop_waiting(self) -> None:
        """End the wait."""
        self._needed.set()

    def run(
        self, path: str, rank: int, count: int, address: str, attempt: int, files: dict[str, bytes] | None = None
    ) -> WorkerResult:
        """Train a run's part of this rank; every failure comes back as a cause.

        Args:
            path: the run's folder, as the driver knows it.
            rank: this worker's number.
            count: how many workers there are.
            address: where they meet; empty for one alone.
            attempt: its number.
            files: what is in the folder, where worker and driver share no disk.

        """
        from stoker.execution.data_cache import DataCache
        from stoker.execution.engines.engine import Assignment, run_to_end
        from stoker.execution.engines.table import ENGINES

        self._cache = self._cache or DataCache()
        for stream in (sys.stdout, sys.stderr):
            print(f"{LOG_PREFIX_ACTOR_NAME}{worker_name(rank)}", file=stream, flush=True)
        folder = RunFolder(Path(path))
        if files is not None:
            load_secret_files()
            folder = self._own = unpack(files, folder.path.name, str(rank))
        self._heartbeat = Heartbeat(folder.path / STEP_FILE if rank == 0 else None)
        try:
            assignment = Assignment(folder, rank, count, attempt)
            result = run_to_end(ENGINES["torch"](assignment, self._heartbeat, self._cache), address)
            if rank == 0 and self._own is not None:
                self._heartbeat.enter(Stage.SAVING)
                result = with_saved_results(result, RunStore(folder))
            return result
        finally:
            self._heartbeat.close()

    def address(self) -> str:
        """Name a free port of this machine, at which the workers may meet."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            return f"{ray.util.get_node_ip_address()}:{probe.getsockname()[1]}"

    def request(self, request: str) -> None:
        """Ask the attempt for something: `stop`."""
        self._heartbeat.request = request

    def beat(self, position: int = 0) -> Beat:
        """Give a sign of life; `position` is how much of the journal the driver has, where it follows this one."""
        beat = self._heartbeat.beat()
        return beat if self._own is None else replace(beat, update=self.update(position))

    def update(self, position: int) -> FolderUpdate:
        """Return what has changed in the worker's own folder, the journal from a byte position on."""
        return FolderUpdate() if self._own is None else folder_update(self._own, position)

    def delete_folder(self) -> None:
        """Remove its own folder."""
        if self._own is not None:
            shutil.rmtree(self._own.path, ignore_errors=True)

    def stack_traces(self) -> str:
        """Tell what every thread of the process is doing."""
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        parts = []
        for number, frame in sys._current_frames().items():
            parts.append(f"thread {names.get(number, number)}:\n{''.join(traceback.format_stack(frame))}")
        return "\n".join(parts)
