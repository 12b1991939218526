"""The home folder of the runs: made for its owner alone, and refused where nothing fits into it any more."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stoker.errors import ClusterError

FREE_BYTES = 200 * 1024 * 1024
"""A run needs about this much for its record and for Ray's session."""


def make_home(home: Path) -> None:
    """Make the home where there is none, readable by its owner alone: data, passwords and logs pass through it.

    Raises:
        ClusterError: it cannot be made or written, or has no space.

    """
    with usable(home):
        home.parent.mkdir(parents=True, exist_ok=True)
        home.mkdir(mode=0o700, exist_ok=True)
        for name in ("runs", "keys"):
            (home / name).mkdir(exist_ok=True)
        require_space(home)


def require_space(folder: Path) -> None:
    """Refuse a run where the disk is all but full.

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


@contextmanager
def usable(home: Path) -> Iterator[None]:
    """Tell what the system refuses in a home as the operator's turn."""
    try:
        yield
    except OSError as error:
        message = f"cannot make a run in {home}: {error.strerror}; mend it or set STOKER_HOME to another folder"
        raise ClusterError(message) from error
