"""The storage interface that folders and buckets implement."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

Chunks = Sequence[bytes | memoryview]
"""One object in chunks that are never joined in memory, such as the tensors of a network."""

PIECE_BYTES = 4 << 20
"""Bytes hashed and written at once: small enough to stay in the CPU cache and to let other threads run in between."""


@dataclass(frozen=True)
class Digest:
    """Size and checksum of an object, by which it is verified when it is read."""

    size: int
    """Size in bytes."""
    sha256: str
    """SHA-256 in hexadecimal."""


class Storage(ABC):
    """Objects by key, a relative path with slashes. Each method raises StorageError if the folder or server refuses."""

    @abstractmethod
    def put(self, key: str, chunks: Chunks) -> Digest:
        """Store an object under a key, replacing an earlier one; atomic, and durable when this returns."""

    @abstractmethod
    def get(self, key: str) -> bytes:
        """Return an object; raise NotFound if there is none. The caller verifies the content."""

    @abstractmethod
    def download(self, key: str, path: Path) -> None:
        """Copy an object to a file, without holding it in memory; raise NotFound if there is none."""

    def download_folder(self, prefix: str, target: Path) -> int:
        """Copy all objects below the folder `prefix` to files below another; return their number."""
        keys = self.keys(prefix)
        for key in keys:
            path = target / key.removeprefix(f"{prefix}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            self.download(key, path)
        return len(keys)

    @abstractmethod
    def keys(self, prefix: str) -> list[str]:
        """Return the keys of all objects below the folder `prefix`, sorted; the empty prefix means all."""

    @abstractmethod
    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects in order, each durably before the next; missing ones are ignored."""

    @abstractmethod
    def clear(self, prefix: str) -> None:
        """Delete the folder `prefix` with everything below it, including unfinished writes of killed processes."""

    @abstractmethod
    def url(self, key: str) -> str:
        """Return the location of an object, for messages."""


def checked_key(key: str) -> str:
    """Return a key after checking that it cannot leave the storage."""
    assert all(part not in ("", ".", "..") for part in key.split("/")), key
    return key


def pieces(chunks: Chunks) -> Iterator[memoryview]:
    """Yield an object as non-empty views of at most `PIECE_BYTES` bytes."""
    for chunk in chunks:
        view = memoryview(chunk)
        if view.nbytes:
            flat = view.cast("B")
            yield from (flat[start : start + PIECE_BYTES] for start in range(0, flat.nbytes, PIECE_BYTES))
