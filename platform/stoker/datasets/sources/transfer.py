"""Downloads that survive lost connections: they resume where they stopped while the server recovers."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom  # leaves the global generator, which a job's own code may have seeded, untouched
from typing import TypeVar

Answer = TypeVar("Answer")

PATIENCE_S = 30.0
"""How long a download is retried without receiving a byte."""
FIRST_WAIT_S = 0.5
MAX_WAIT_S = 8.0
CHUNK_BYTES = 128 << 10
"""At most this much is lost when the process is killed."""


class Interrupted(Exception):
    """A transient failure of the server: 5xx, a reset connection, a truncated response."""

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s
        """The wait that the server asks for; 0 if it does not."""


@dataclass(frozen=True)
class Remainder:
    """A server's response with a file from `start` to the end."""

    start: int
    """Offset in bytes; 0 if the server cannot resume and sends the whole file."""
    chunks: Iterator[bytes]
    size: int | None
    """Of the whole file, in bytes; None if unknown."""


def download(target: Path, begin: Callable[[int], Remainder], patience_s: float = PATIENCE_S) -> None:
    """Write a file, requesting the rest after each interruption; any progress restarts `patience_s`.

    Args:
        target: may hold the start of the file.
        begin: requests the file from an offset on.
        patience_s: how long to retry without progress.

    Raises:
        Interrupted: the last failure, after `patience_s`.

    """
    retry(lambda: _write(target, begin(_size(target))), patience_s, lambda: _size(target))


def retry(attempt: Callable[[], Answer], patience_s: float, progress: Callable[[], int] = int) -> Answer:
    """Repeat an attempt while it is interrupted; any growth of `progress` restarts `patience_s`.

    Raises:
        Interrupted: the last failure, after `patience_s`.

    """
    deadline, longest_s, reached = 0.0, FIRST_WAIT_S, progress()
    while True:
        try:
            return attempt()
        except Interrupted as error:
            if progress() > reached:
                deadline, longest_s, reached = 0.0, FIRST_WAIT_S, progress()
            wait_s = min(max(error.wait_s, SystemRandom().uniform(0, longest_s)), MAX_WAIT_S)
            deadline = deadline or time.monotonic() + patience_s
            if time.monotonic() + wait_s > deadline:
                raise
        time.sleep(wait_s)
        longest_s = min(2 * longest_s, MAX_WAIT_S)


def _write(target: Path, remainder: Remainder) -> None:
    with target.open("r+b" if target.exists() else "wb") as file:
        file.truncate(remainder.start)
        file.seek(remainder.start)
        for chunk in remainder.chunks:
            file.write(chunk)
        size = file.tell()
    if remainder.size is not None and size < remainder.size:
        raise Interrupted(f"the answer was cut after {size} of {remainder.size} bytes")


def _size(target: Path) -> int:
    return target.stat().st_size if target.exists() else 0
