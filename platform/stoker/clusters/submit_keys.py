"""One run a key: `submit --key K` claims the key before it starts anything, however many do so at once.

Each key has a file in the home, which its claimant keeps locked until the run's folder is there. The kernel drops the
lock of who dies. So whoever gets the lock finds the run that the key has, or a key that is free.
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

from stoker.clusters.home_folder import make_home
from stoker.errors import JobError, Problem, WaitTimedOut

PATIENCE_S = 600.0
"""The first claimant plans its job meanwhile, which takes long where much data is read."""
POLL_S = 0.02


@dataclass(frozen=True)
class Claim:
    """The run that a key stands for."""

    run: str
    """Its id."""
    job: str
    """Hash of its job."""


@dataclass(frozen=True)
class Claimed:
    """What became of a claim."""

    run: str
    """Id of the run to make, or of the one that is there."""
    taken: bool
    """Whether the run is there."""


@contextmanager
def claim(home: Path, key: str, fresh: str, job: str, patience_s: float = PATIENCE_S) -> Iterator[Claimed]:
    """Claim a key for the length of the block, in which the run is made unless the key has one.

    A block that ends without a run frees the key.

    Args:
        home: the home folder.
        key: what the caller of `submit` made up.
        fresh: the id of a new run.
        job: hash of the job, so that a key never stands for two of them.
        patience_s: how long to wait for another claimant.

    Raises:
        ClusterError: the home folder cannot be written or has no space.
        JobError: the key has a run with another job.
        WaitTimedOut: another claimant makes its run for longer than that.

    """
    make_home(home)
    path = home / "keys" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(file, key, patience_s)
        known = _read(file)
        if known and (home / "runs" / known.run).exists():
            if known.job != job:
                message = f"the key '{key}' is that of {known.run}, which has another job; choose another key"
                raise JobError([Problem("", message)])
            yield Claimed(known.run, taken=True)
        else:
            _write(file, Claim(fresh, job))
            yield Claimed(fresh, taken=False)
    finally:
        os.close(file)


def _lock(file: int, key: str, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                known = _read(file)
                run = f" {known.run}" if known else " a run"
                message = f"another `submit --key {key}` is still making{run} after {patience_s:.0f} s; try again"
                raise WaitTimedOut(message) from None
            time.sleep(random.uniform(0.5, 1.5) * POLL_S)  # noqa: S311 - so that waiting processes do not march in step
        else:
            return


def _read(file: int) -> Claim | None:
    """Read what the last claimant wrote; nothing where it died while it wrote."""
    try:
        content = json.loads(os.pread(file, 65536, 0))
        return Claim(str(content["run"]), str(content["job"]))
    except (ValueError, KeyError, TypeError):
        return None


def _write(file: int, claim: Claim) -> None:
    os.ftruncate(file, 0)
    os.pwrite(file, json.dumps(asdict(claim)).encode(), 0)
