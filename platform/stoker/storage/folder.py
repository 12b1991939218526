"""Objects as files in a folder, on a local disk or a shared one."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from stoker.errors import Cause, NotFound, StorageError
from stoker.storage.objects import Chunks, Digest, Storage, checked_key, pieces

PARTIAL = ".partial"
"""Suffix of the hidden file that is being written; if its writer is killed, it stays until `clear`."""

_CAUSES = {
    errno.ENOSPC: Cause.DISK_FULL,
    errno.EDQUOT: Cause.DISK_FULL,  # the user's quota is used up
    errno.EACCES: Cause.STORAGE_AUTH,
    errno.EPERM: Cause.STORAGE_AUTH,
    errno.EROFS: Cause.STORAGE_AUTH,  # mounted read-only
}
"""Causes by errno; all others (EIO, ESTALE, ...) count as failures of the infrastructure."""

_CURES = {
    Cause.DISK_FULL: "free space on its disk",
    Cause.STORAGE_AUTH: "allow this user to read and write there, or choose another folder",
    Cause.INFRASTRUCTURE: "check that its disk works and is mounted",
}


class FolderStorage(Storage):
    """A folder; it is created with the first object."""

    def __init__(self, path: Path) -> None:
        self._root = path.expanduser().absolute()

    def put(self, key: str, chunks: Chunks) -> Digest:
        """Write a temporary file, fsync, rename, fsync the folder: a power cut leaves the old object or the new one."""
        target = self._path(key)
        partial = target.with_name(f".{uuid4().hex}{PARTIAL}")
        with _storage_errors(target):
            _make_folder(target.parent)
            try:
                digest = _write(partial, chunks)
                partial.replace(target)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
            _sync_folder(target.parent)
        return digest

    def get(self, key: str) -> bytes:
        """Read a file."""
        path = self._path(key)
        with _storage_errors(path):
            try:
                return path.read_bytes()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
                raise NotFound(f"{path} does not exist") from error

    def download(self, key: str, path: Path) -> None:
        """Copy a file."""
        source = self._path(key)
        with _storage_errors(source):
            try:
                shutil.copyfile(source, path)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
                raise NotFound(f"{source} does not exist") from error

    def keys(self, prefix: str) -> list[str]:
        """Return all keys below a folder, without files that are being written."""
        top = self._path(prefix) if prefix else self._root
        with _storage_errors(top):
            found = [
                Path(folder, name)
                for folder, _, names in os.walk(top, onerror=_raise_unless_gone)
                for name in names
                if not _is_partial(name)
            ]
        return sorted(path.relative_to(self._root).as_posix() for path in found)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete files one by one."""
        for key in keys:
            path = self._path(key)
            with _storage_errors(path):
                try:
                    path.unlink()
                except (FileNotFoundError, NotADirectoryError):
                    continue
                _sync_folder(path.parent)

    def clear(self, prefix: str) -> None:
        """Delete the folder itself."""
        top = self._path(prefix)
        with _storage_errors(top):
            if top.is_dir():
                shutil.rmtree(top)
                _sync_folder(top.parent)

    def url(self, key: str) -> str:
        """Return the path."""
        return str(self._path(key))

    def _path(self, key: str) -> Path:
        assert not _is_partial(key.rpartition("/")[2]), key
        return self._root / checked_key(key)


@contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    """Raise an OSError as StorageError with its cause and cure."""
    try:
        yield
    except OSError as error:
        cause = _CAUSES.get(error.errno or 0, Cause.INFRASTRUCTURE)
        raise StorageError(cause, f"{path}: {error.strerror or error}; {_CURES[cause]}") from error


def _make_folder(folder: Path) -> None:
    """Create a folder durably: it survives a power cut."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)  # another worker may create it at the same time
        _sync_folder(path.parent)


def _write(path: Path, chunks: Chunks) -> Digest:
    size, sha256 = 0, hashlib.sha256()
    with path.open("xb") as file:
        for piece in pieces(chunks):
            size += file.write(piece)
            sha256.update(piece)
        file.flush()
        os.fsync(file.fileno())
    return Digest(size, sha256.hexdigest())


def _sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, which makes a rename in it durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_partial(name: str) -> bool:
    return name.startswith(".") and name.endswith(PARTIAL)


def _raise_unless_gone(error: OSError) -> None:
    """Raise an error of a walk, unless a folder was removed during the walk."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
