"""Locks between processes, which the kernel releases when their holder dies.

They are flock's rather than filelock's, which knows exclusive ones alone: a lease is shared by all who read.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def locked(path: Path, shared: bool = False) -> Iterator[None]:
    """Hold a lock on a file, which is made if absent and stays."""
    lock = acquire(path, shared)
    try:
        yield
    finally:
        release(lock)


@contextmanager
def locked_for_once(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file that is deleted afterwards."""
    lock = acquire(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        release(lock)


def acquire(path: Path, shared: bool = False) -> int:
    """Wait for a lock and return its descriptor; a file that was deleted or replaced meanwhile does not count."""
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
    """Take an exclusive lock and return its descriptor; None where somebody holds it."""
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
    """Give a lock back, also for a child that was forked meanwhile and has the descriptor, too."""
    fcntl.flock(lock, fcntl.LOCK_UN)
    os.close(lock)


def _opened(path: Path) -> int:
    while True:
        with suppress(FileNotFoundError):
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        path.parent.mkdir(parents=True, exist_ok=True)  # whoever deletes a view takes its folder away


def _is(lock: int, path: Path) -> bool:
    mine = os.fstat(lock)
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return (mine.st_ino, mine.st_dev) == (there.st_ino, there.st_dev)
