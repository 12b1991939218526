"""Objects as files of a folder: on this machine, or on a disk that several machines mount."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from stoker.errors import Cause, NotFound, StorageError
from stoker.storage.objects import Chunks, Digest, Storage, checked, pieces

PARTIAL = ".partial"
"""Ends the hidden name of a file that is being written; where its writer was killed it stays until `clear`."""

_CAUSES = {
    errno.ENOSPC: Cause.DISK_FULL,
    errno.EDQUOT: Cause.DISK_FULL,  # the user's share of the disk is full
    errno.EACCES: Cause.STORAGE_AUTH,
    errno.EPERM: Cause.STORAGE_AUTH,
    errno.EROFS: Cause.STORAGE_AUTH,  # mounted read-only
}
"""What an errno means; all others are of the machine (EIO, ESTALE, ...) and may pass."""

_CURES = {
    Cause.DISK_FULL: "free space on its disk",
    Cause.STORAGE_AUTH: "let this user read and write there, or name another folder",
    Cause.INFRASTRUCTURE: "see whether its disk is well and mounted",
}


class FolderStorage(Storage):
    """A folder that is made when the first object comes."""

    def __init__(self, path: Path) -> None:
        self._root = path.expanduser().absolute()

    def put(self, key: str, chunks: Chunks) -> Digest:
        """Write beside the target, sync, rename, sync the folder: a power cut leaves the old object or the new one."""
        target = self._path(key)
        partial = target.with_name(f".{uuid4().hex}{PARTIAL}")
        with _refusals(target):
            _make(target.parent)
            try:
                digest = _write(partial, chunks)
                partial.replace(target)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
            _sync(target.parent)
        return digest

    def get(self, key: str) -> bytes:
        """Read a file."""
        path = self._path(key)
        with _refusals(path):
            try:
                return path.read_bytes()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
                raise NotFound(f"{path} does not exist") from error

    def keys(self, prefix: str) -> list[str]:
        """Walk the folder; files that are being written do not count."""
        top = self._path(prefix) if prefix else self._root
        with _refusals(top):
            found = [
                Path(folder, name)
                for folder, _, names in os.walk(top, onerror=_unless_gone)
                for name in names
                if not _is_partial(name)
            ]
        return sorted(path.relative_to(self._root).as_posix() for path in found)

    def delete(self, keys: Iterable[str]) -> None:
        """Unlink files one by one."""
        for key in keys:
            path = self._path(key)
            with _refusals(path):
                try:
                    path.unlink()
                except (FileNotFoundError, NotADirectoryError):
                    continue
                _sync(path.parent)

    def clear(self, prefix: str) -> None:
        """Remove the folder itself."""
        top = self._path(prefix)
        with _refusals(top):
            if top.is_dir():
                shutil.rmtree(top)
                _sync(top.parent)

    def url(self, key: str) -> str:
        """Give the path."""
        return str(self._path(key))

    def _path(self, key: str) -> Path:
        assert not _is_partial(key.rpartition("/")[2]), key
        return self._root / checked(key)


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Say in our words what the operating system refuses."""
    try:
        yield
    except OSError as error:
        cause = _CAUSES.get(error.errno or 0, Cause.INFRASTRUCTURE)
        raise StorageError(cause, f"{path}: {error.strerror or error}; {_CURES[cause]}") from error


def _make(folder: Path) -> None:
    """Make a folder so that it is still there after a power cut."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)  # another worker may have been faster
        _sync(path.parent)


def _write(path: Path, chunks: Chunks) -> Digest:
    size, sha256 = 0, hashlib.sha256()
    with path.open("xb") as file:
        for piece in pieces(chunks):
            size += file.write(piece)
            sha256.update(piece)
        file.flush()
        os.fsync(file.fileno())
    return Digest(size, sha256.hexdigest())


def _sync(folder: Path) -> None:
    """Bring a folder's names to the disk: a rename is not durable before."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_partial(name: str) -> bool:
    return name.startswith(".") and name.endswith(PARTIAL)


def _unless_gone(error: OSError) -> None:
    """Let a walk go on past a folder that somebody removes meanwhile."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
