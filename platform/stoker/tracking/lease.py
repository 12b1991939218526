"""The lease of a run's driver: a file lock that ends with the process, in whatever way it ends."""

import fcntl
import os
import time
from pathlib import Path

CHECK_S = 1.0
"""A lock held for longer than this is a driver's, and not that of a process that checks for one."""


def take_lease(path: Path, pid: int) -> int:
    """Take the lease and return its open file, which may be passed to another process.

    Args:
        path: of the lease.
        pid: of the driver.

    Raises:
        BlockingIOError: another driver holds the lease.

    """
    lease = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(lease)
        os.ftruncate(lease, 0)
        os.write(lease, str(pid).encode())
    except OSError:
        os.close(lease)
        raise
    return lease


def lease_holder(path: Path) -> int | None:
    """Return the process id of the driver that holds the lease; None without one."""
    try:
        lease = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lease, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        while not (pid := os.pread(lease, 20, 0)):  # written right after the lease is taken
            time.sleep(0.001)
        return int(pid)
    finally:
        os.close(lease)
    return None


def _lock(lease: int) -> None:
    """Take the lock, waiting for processes that hold it for a moment to check for a driver."""
    deadline = time.monotonic() + CHECK_S
    while True:
        try:
            fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.002)
        else:
            return
