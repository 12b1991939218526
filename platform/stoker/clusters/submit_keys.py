"""`submit --key`: one run for each key, however many processes submit with it at the same time.

Each key has a file in the home folder. A process that submits holds a lock on the file until the run's folder exists;
the kernel releases the lock of a process that dies. So a process that gets the lock finds either the run of the key or
a key that is free.
"""

import fcntl
import hashlib
import json
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from stoker.clusters.home_folder import KEYS, make_home, run_folder
from stoker.errors import JobError, Problem, WaitTimedOut

LOCK_TIMEOUT_S = 600.0
"""The process that holds the lock plans its job, which takes long if much data is read."""
POLL_S = 0.02


@dataclass(frozen=True)
class KeyEntry:
    """Content of a key's file."""

    run: str
    """Id of the run."""
    job: str
    """Hash of its job."""


@dataclass(frozen=True)
class KeyClaim:
    """Result of claiming a key."""

    run: str
    """Id of the run to create, or of the one that exists."""
    exists: bool


@contextmanager
def claim_key(home: Path, key: str, fresh: str, job: str, lock_timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[KeyClaim]:
    """Claim a key for the length of the block, in which the run must be created unless it exists.

    A block that ends without a run frees the key.

    Args:
        home: the home folder.
        key: as given to `submit`.
        fresh: id for a new run.
        job: hash of the job.
        lock_timeout_s: how long to wait for another process that holds the key.

    Raises:
        ClusterError: the home folder cannot be written or has no space.
        JobError: the key belongs to a run with another job.
        WaitTimedOut: another process has held the key for too long.

    """
    make_home(home)
    path = home / KEYS / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(file, key, lock_timeout_s)
        entry = _read(file)
        if entry and run_folder(home, entry.run).path.exists():
            if entry.job != job:
                raise key_conflict(key, entry.run)
            yield KeyClaim(entry.run, exists=True)
        else:
            _write(file, KeyEntry(fresh, job))
            yield KeyClaim(fresh, exists=False)
    finally:
        os.close(file)


def key_conflict(key: str, run: str) -> JobError:
    """Return the error for a key that belongs to a run with another job."""
    return JobError([Problem("", f"the key '{key}' belongs to {run}, which has another job; choose another key")])


def _lock(file: int, key: str, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                entry = _read(file)
                run = f" {entry.run}" if entry else " a run"
                message = f"another `submit --key {key}` is still creating{run} after {timeout_s:.0f} s; try again"
                raise WaitTimedOut(message) from None
            time.sleep(random.uniform(0.5, 1.5) * POLL_S)  # noqa: S311 - keeps waiting processes out of step
        else:
            return


def _read(file: int) -> KeyEntry | None:
    """Return the last entry; None if the process that wrote it died while writing."""
    try:
        content = json.loads(os.pread(file, 65536, 0))
        return KeyEntry(str(content["run"]), str(content["job"]))
    except (ValueError, KeyError, TypeError):
        return None


def _write(file: int, entry: KeyEntry) -> None:
    os.ftruncate(file, 0)
    os.pwrite(file, json.dumps(asdict(entry)).encode(), 0)
