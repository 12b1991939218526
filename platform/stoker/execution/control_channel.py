"""The channel between a driver on a cluster and its clients: it receives requests and publishes the run's status."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Protocol

from stoker.execution.contract import PROGRESS, STATUS
from stoker.tracking.run_folder import RunFolder

POLL_EVERY_S = 2.0
CLOSE_TIMEOUT_S = 120.0
"""How long an ended run waits for a server that is down."""


class ControlChannel(Protocol):
    """A driver's connection to the server that its clients read."""

    def publish(self, name: str, content: dict[str, Any]) -> None:
        """Publish a message under a name, unless it is the same as the last one."""

    def request(self) -> str:
        """Return the client's request as `contract.REQUEST` defines it; empty for none."""

    def close(self) -> None:
        """Mark the run as permanently finished."""


@contextmanager
def serve(channel: ControlChannel, folder: RunFolder, progress_every: int) -> Iterator[None]:
    """Write requests to the run's folder and publish its status and progress, until the block ends.

    Args:
        channel: of the driver.
        folder: of the run.
        progress_every: progress is published with every n-th status.

    """
    over = threading.Event()
    thread = threading.Thread(target=_follow, args=(channel, folder, progress_every, over), name="channel", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _follow(channel: ControlChannel, folder: RunFolder, progress_every: int, over: threading.Event) -> None:
    rounds, failing, deadline = 0, False, math.inf
    while True:
        ended = over.wait(POLL_EVERY_S)
        rounds += 1
        try:
            channel.publish(STATUS, asdict(folder.status()))
            if ended or rounds % progress_every == 0:
                channel.publish(PROGRESS, asdict(folder.progress()))
            _forward_request(channel.request(), folder)
            failing = False
        except Exception as error:  # a server that is down does not affect the run; retry
            if not failing:
                reason = (str(error).strip().splitlines() or [""])[0]
                print(f"cannot publish the run's status: {type(error).__name__}: {reason}")  # noqa: T201 - the run's log
            failing = True
            if ended and time.monotonic() < deadline:
                time.sleep(POLL_EVERY_S)
                continue
        if ended:
            if folder.status().state.final:
                channel.close()
            return
        deadline = time.monotonic() + CLOSE_TIMEOUT_S


def _forward_request(request: str, folder: RunFolder) -> None:
    """Create the request file of `pause`, `cancel`, or `cancel 3 5` for single trials of a sweep."""
    match request.split():
        case ["cancel"]:
            folder.cancel_request.touch()
        case ["pause"]:
            folder.pause_request.touch()
        case ["cancel", *numbers]:
            for number in numbers:
                trial = folder.trial(int(number))
                if trial.path.exists():
                    trial.cancel_request.touch()
