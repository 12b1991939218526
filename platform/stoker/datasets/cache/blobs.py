"""Content by its SHA-256. What is kept carries a fixed modification time, so that any later change shows."""

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
"""The modification time of kept content: a second after the epoch, as in the store of Nix."""
_NO_LINK = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EXDEV, errno.ENOSYS}
"""File systems without hard links, and files that have as many as theirs allows."""


@dataclass(frozen=True)
class Blob:
    """What a file must hold."""

    sha256: str
    size: int


class Blobs:
    """The content of a cache; every link and every deletion goes through its gate."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "blobs"
        self._gate = folder / "gate"
        self._drafts = folder / "partial"

    def place(self, blob: Blob) -> Path:
        """Return where content lies."""
        return self._folder / blob.sha256[:2] / blob.sha256

    def link(self, blob: Blob, path: Path) -> bool:
        """Link kept content to a path, in place of what is there; False where the content is not kept, or damaged."""
        with locked(self._gate, shared=True):
            if not is_sound(self.place(blob), blob):
                return False
            self._link(self.place(blob), path)
            return True

    def commit(self, file: Path, blob: Blob, path: Path) -> None:
        """Move a finished download into the cache and link it to a path; of equal content one copy is kept."""
        with file.open("rb") as content:
            os.fsync(content.fileno())
        seal(file)
        place = self.place(blob)
        place.parent.mkdir(parents=True, exist_ok=True)
        with locked(self._gate, shared=True):
            if is_sound(place, blob):
                file.unlink()
            else:
                file.replace(place)
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
            shutil.copyfile(source, draft)  # the content then counts as unused, and goes when room is needed
            seal(draft)
        draft.replace(path)
        draft.unlink(missing_ok=True)  # rename leaves both names where they are links to one file

    def _all(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self._folder.glob("??/*"):
            with suppress(FileNotFoundError):
                yield path, path.stat()


def is_sound(path: Path, blob: Blob) -> bool:
    """Whether a file holds what it must; one that was touched since it was kept is read, and deleted if damaged."""
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
    """Mark a file as kept: read-only, with the time by which later changes show."""
    path.chmod(0o444)
    os.utime(path, ns=(SEALED_NS, SEALED_NS))


def sha256_of(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
