"""One download that survives cut connections: it continues where it stopped for as long as the server recovers."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom  # draws nothing from the generator that a job's own code may have seeded
from typing import TypeVar

Answer = TypeVar("Answer")

PATIENCE_S = 30.0
"""How long a server may fail without sending a byte before the download is given up."""
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 8.0
CHUNK_BYTES = 128 << 10
"""How much a killed process may have received in vain."""


class Interrupted(Exception):
    """The server failed in a way that may pass: 5xx, a reset connection, an answer that was cut."""

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s
        """How long the server asks to wait; 0 where it does not say."""


@dataclass(frozen=True)
class Remainder:
    """What a server sends of a file: from `start` to the end."""

    start: int
    """Offset in bytes; 0 where the server cannot continue, and sends everything again."""
    chunks: Iterator[bytes]
    size: int | None
    """Of the whole file, in bytes; None where the server does not say."""


def download(target: Path, begin: Callable[[int], Remainder], patience_s: float = PATIENCE_S) -> None:
    """Write a file, asking for the rest again after each interruption; any progress renews the patience.

    Args:
        target: may hold the beginning of the file.
        begin: asks for the file from an offset on.
        patience_s: how long attempts without progress go on.

    Raises:
        Interrupted: the last failure, once patience is over.

    """
    persistently(lambda: _write(target, begin(_size(target))), patience_s, lambda: _size(target))


def persistently(attempt: Callable[[], Answer], patience_s: float, progress: Callable[[], int] = int) -> Answer:
    """Repeat an attempt while it is interrupted; where `progress` grows meanwhile, patience begins anew.

    Raises:
        Interrupted: the last failure, once patience is over.

    """
    deadline, longest_s, reached = 0.0, FIRST_WAIT_S, progress()
    while True:
        try:
            return attempt()
        except Interrupted as error:
            if progress() > reached:
                deadline, longest_s, reached = 0.0, FIRST_WAIT_S, progress()
            wait_s = min(max(error.wait_s, SystemRandom().uniform(0, longest_s)), LONGEST_WAIT_S)
            deadline = deadline or time.monotonic() + patience_s
            if time.monotonic() + wait_s > deadline:
                raise
        time.sleep(wait_s)
        longest_s = min(2 * longest_s, LONGEST_WAIT_S)


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
