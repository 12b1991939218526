"""Content by its SHA-256. A fixed modification time marks a file as intact, so that later changes are detected."""

import errno
import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stoker.datasets.cache.locks import locked

SEALED_NS = 10**9
"""The modification time of cached content: a second after the epoch, as in the Nix store."""
_NO_LINK = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EXDEV, errno.ENOSYS}
"""Errors of file systems without hard links, or with too many links to a file."""


@dataclass(frozen=True)
class Blob:
    """The expected content of a file."""

    sha256: str
    size: int


class Blobs:
    """The content of a cache; its gate guards every link and every deletion."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "blobs"
        self._gate = folder / "gate"
        self._drafts = folder / "partial"

    def place(self, blob: Blob) -> Path:
        """Return the path of content."""
        return self._folder / blob.sha256[:2] / blob.sha256

    def link(self, blob: Blob, path: Path) -> bool:
        """Link cached content to a path, replacing any file; False if the content is missing or damaged."""
        with locked(self._gate, shared=True):
            if not is_intact(self.place(blob), blob):
                return False
            self._link(self.place(blob), path)
            return True

    def commit(self, file: Path, blob: Blob, path: Path) -> None:
        """Move a finished download into the cache, without duplicates, and link it to a path."""
        with file.open("rb") as content:
            os.fsync(content.fileno())
        seal(file)
        place = self.place(blob)
        place.parent.mkdir(parents=True, exist_ok=True)
        with locked(self._gate, shared=True):
            if is_intact(place, blob):
                file.unlink()
            else:
                _move(file, place)
            self._link(place, path)

    def delete_unused(self) -> int:
        """Delete the content that no view links to, and return its size in bytes."""
        freed = 0
        with locked(self._gate):
            for path, facts in self._all():
                if facts.st_nlink == 1:
                    path.unlink(missing_ok=True)
                    freed += facts.st_size
        return freed

    def size(self) -> int:
        """Return the bytes of all content."""
        return sum(facts.st_size for _, facts in self._all())

    def _link(self, source: Path, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._drafts.mkdir(parents=True, exist_ok=True)
        draft = self._drafts / f"{os.getpid()}-{threading.get_ident()}.link"
        draft.unlink(missing_ok=True)
        try:
            os.link(source, draft)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            shutil.copyfile(source, draft)  # the content then counts as unused, and may be evicted
            seal(draft)
        draft.replace(path)
        draft.unlink(missing_ok=True)  # rename does nothing if both names link to one file

    def _all(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self._folder.glob("??/*"):
            with suppress(FileNotFoundError):
                yield path, path.stat()


def _move(file: Path, place: Path) -> None:
    """Move a file, unless another download of the same content was first: then that one stays, and its links."""
    try:
        os.link(file, place)
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        file.replace(place)
        return
    file.unlink()


def is_intact(path: Path, blob: Blob) -> bool:
    """Return whether a file has its content; one changed since it was sealed is hashed, and deleted if damaged."""
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return False
    if facts.st_size == blob.size and facts.st_mtime_ns == SEALED_NS:
        return True
    if facts.st_size == blob.size and sha256_of(path) == blob.sha256:
        seal(path)
        return True
    path.unlink(missing_ok=True)
    return False


def seal(path: Path) -> None:
    """Mark a file as intact: read-only, with the fixed modification time."""
    path.chmod(0o444)
    os.utime(path, ns=(SEALED_NS, SEALED_NS))


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
