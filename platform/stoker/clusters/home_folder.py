"""The home folder, which holds the runs: creating it, and checks that it is usable."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stoker.errors import ClusterError
from stoker.tracking.run_folder import RunFolder

FREE_BYTES = 200 * 1024 * 1024
"""A run needs about this much for its record and Ray's session."""
RUNS = "runs"
KEYS = "keys"


def make_home(home: Path) -> None:
    """Create the home folder if needed, readable by its owner only: data, passwords and logs pass through it.

    Raises:
        ClusterError: it cannot be created or written, or has no space.

    """
    with disk_errors(home):
        home.parent.mkdir(parents=True, exist_ok=True)
        home.mkdir(mode=0o700, exist_ok=True)
        for name in (RUNS, KEYS):
            (home / name).mkdir(exist_ok=True)
        require_space(home)


def require_space(folder: Path) -> None:
    """Raise if the disk is almost full.

    Raises:
        ClusterError: less than FREE_BYTES are free.

    """
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if free < FREE_BYTES:
        raise ClusterError(
            f"no space for the run: {free // 2**20} MiB are free in {folder}, {FREE_BYTES // 2**20} MiB are needed; "
            "free some or set STOKER_HOME to another folder"
        )


def run_folder(home: Path, run: str) -> RunFolder:
    """Return the folder of a run in a home folder."""
    return RunFolder(home / RUNS / run)


@contextmanager
def disk_errors(home: Path) -> Iterator[None]:
    """Raise errors of the file system below a home folder as ClusterError."""
    try:
        yield
    except OSError as error:
        message = f"cannot create a run in {home}: {error.strerror}; fix it or set STOKER_HOME to another folder"
        raise ClusterError(message) from error
