"""The one small interface over every place that keeps objects."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

Chunks = Sequence[bytes | memoryview]
"""One object in pieces, which are never joined in memory: the tensors of a network, one after the other."""

PIECE_BYTES = 4 << 20
"""How much is hashed and written at once: other threads run meanwhile, and a cache holds it from one to the other."""


@dataclass(frozen=True)
class Digest:
    """What an object must be when it is read again."""

    size: int
    """Bytes."""
    sha256: str
    """Hexadecimal."""


class Storage(ABC):
    """Objects by key: a relative path with slashes. Each method raises StorageError where the place refuses."""

    @abstractmethod
    def put(self, key: str, chunks: Chunks) -> Digest:
        """Keep one object under a key, in place of what was there: whole and for good on return, not at all before."""

    @abstractmethod
    def get(self, key: str) -> bytes:
        """Read an object; NotFound where there is none. Its content is the caller's to verify."""

    @abstractmethod
    def keys(self, prefix: str) -> list[str]:
        """Name every object below the folder `prefix`, sorted; the empty prefix means all."""

    @abstractmethod
    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects, each for good before the next; absent ones are no error."""

    @abstractmethod
    def clear(self, prefix: str) -> None:
        """Delete the folder `prefix` with everything below, also what killed writers left half-written there."""

    @abstractmethod
    def url(self, key: str) -> str:
        """Say where an object lies, for messages."""


def checked(key: str) -> str:
    """Return a key that stays inside its storage."""
    assert all(part not in ("", ".", "..") for part in key.split("/")), key
    return key


def pieces(chunks: Chunks) -> Iterator[memoryview]:
    """Cut an object into views of at most `PIECE_BYTES` bytes, none of them empty."""
    for chunk in chunks:
        view = memoryview(chunk)
        if view.nbytes:
            flat = view.cast("B")
            yield from (flat[start : start + PIECE_BYTES] for start in range(0, flat.nbytes, PIECE_BYTES))
