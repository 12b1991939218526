"""Locks between processes, which the kernel releases when their holder dies.

They use flock directly, since filelock has only exclusive locks, while readers share a lease.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def locked(path: Path, shared: bool = False) -> Iterator[None]:
    """Hold a lock on a file, which is created if absent and kept."""
    lock = acquire(path, shared)
    try:
        yield
    finally:
        release(lock)


@contextmanager
def locked_temporarily(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file that is deleted afterwards."""
    lock = acquire(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        release(lock)


def acquire(path: Path, shared: bool = False) -> int:
    """Wait for a lock and return its descriptor; retry if the file was deleted or replaced meanwhile."""
    while True:
        lock = _opened(path)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        except BaseException:
            os.close(lock)
            raise
        if _is(lock, path):
            return lock
        os.close(lock)


def try_acquire(path: Path) -> int | None:
    """Take an exclusive lock and return its descriptor; None if it is held elsewhere."""
    lock = _opened(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    if _is(lock, path):
        return lock
    os.close(lock)
    return None


def release(lock: int) -> None:
    """Release a lock, explicitly, since a forked child may have inherited the descriptor."""
    fcntl.flock(lock, fcntl.LOCK_UN)
    os.close(lock)


def _opened(path: Path) -> int:
    while True:
        with suppress(FileNotFoundError):
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        path.parent.mkdir(parents=True, exist_ok=True)  # deleting a view also removes its folder


def _is(lock: int, path: Path) -> bool:
    mine = os.fstat(lock)
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return (mine.st_ino, mine.st_dev) == (there.st_ino, there.st_dev)
