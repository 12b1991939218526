"""A node that is taken away, such as a spot instance: how its pod tells its workers, and waits for their checkpoint.

Kubernetes runs `python -m stoker.execution.leaving SECONDS` in a worker's pod that it is about to end, and ends it at
the latest after its grace period. The workers of the pod see the file that this leaves, and tell the driver; that stops
the attempt as for a pause, and starts another one where there is room.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LEAVING = "STOKER_LEAVING"
"""Environment variable: the file that says that this pod is about to end; unset where nothing takes pods away."""
BUSY = "busy"
"""Suffix of the files of workers that are in an attempt, which ends with a checkpoint."""
POLL_S = 0.2


def is_leaving() -> bool:
    """Return whether this pod is about to end."""
    file = os.environ.get(LEAVING)
    return bool(file) and Path(str(file)).exists()


@contextmanager
def busy() -> Iterator[None]:
    """Let the pod wait for this process, until the block ends."""
    file = os.environ.get(LEAVING)
    if not file:
        yield
        return
    mark = Path(f"{file}.{os.getpid()}.{BUSY}")
    mark.touch()
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def leave(file: Path, most_s: float) -> bool:
    """Say that this pod is about to end, and wait for its workers; return whether they have ended their attempt.

    Args:
        file: of LEAVING.
        most_s: how long to wait.

    """
    file.touch()
    deadline = time.monotonic() + most_s
    while any(_lives(mark) for mark in file.parent.glob(f"{file.name}.*.{BUSY}")):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _lives(mark: Path) -> bool:
    """Return whether the process of a mark lives; the mark of a killed one stays."""
    try:
        os.kill(int(mark.name.split(".")[-2]), 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    leave(Path(os.environ[LEAVING]), float(sys.argv[1]))
