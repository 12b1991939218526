"""Eviction of the least recently used views from the cache, never of those that living processes use."""

import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stoker.datasets.cache.blobs import Blobs
from stoker.datasets.cache.locks import release, try_acquire
from stoker.datasets.cache.views import View, views_in
from stoker.errors import Cause, StorageError

LEFTOVER_S = 7 * 86400.0
"""How long an interrupted download is kept to be resumed."""
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True)
class CachedSource:
    """A source in the cache."""

    source: str
    files: int
    size: int
    """Bytes of its newest complete view."""
    last_used_s: float
    """Seconds since the epoch."""
    in_use: bool
    key: str


def make_room(folder: Path, shown: str, need: int, limit: int) -> None:
    """Delete the least recently used views until `need` more bytes fit below the limit and on the disk.

    Views that living processes use may exceed the limit, but not the disk.

    Raises:
        StorageError: the disk is still too full.

    """
    blobs = Blobs(folder)
    folder.mkdir(parents=True, exist_ok=True)
    delete_leftovers(folder, older_s=LEFTOVER_S)
    blobs.delete_unused()
    size = blobs.size()

    def lacks() -> bool:
        return size + need > limit or free_bytes(folder) < need

    if lacks():
        delete_leftovers(folder, older_s=0)
    for view in views_in(folder):
        if not lacks():
            break
        if view.delete():
            size -= blobs.delete_unused()
            _forget(folder, view)
    if (free := free_bytes(folder)) < need:
        raise disk_full_error(folder, f"{shown} needs {size_text(need)}, and {size_text(free)} are free")


def disk_full_error(folder: Path, what: str) -> StorageError:
    """Return the error of a cache without space."""
    cure = (
        "free space there, or set STOKER_CACHE to a folder on a larger disk (`stoker cache rm --unused-for 7d` helps)"
    )
    return StorageError(Cause.DISK_FULL, f"no room in the cache {folder}: {what}; {cure}")


def free_bytes(folder: Path) -> int:
    """Return the free space on the disk of the cache."""
    return shutil.disk_usage(folder).free


def cached_sources(folder: Path) -> list[CachedSource]:
    """List the sources with a complete view in the cache, the last used first."""
    found: dict[str, CachedSource] = {}
    for view in reversed(views_in(folder)):
        if facts := view.facts():
            known = found.get(view.source_key)
            used = view.in_use()
            found[view.source_key] = (
                CachedSource(facts.source, facts.files, facts.size, view.last_used_s(), used, view.source_key)
                if known is None
                else CachedSource(**{**vars(known), "in_use": known.in_use or used})
            )
    return list(found.values())


def delete_views(folder: Path, views: list[View]) -> tuple[int, list[View]]:
    """Delete views, and the content that no other view uses.

    Returns:
        The bytes freed, and the views kept because living processes use them.

    """
    kept = []
    for view in views:
        if view.delete():
            _forget(folder, view)
        else:
            kept.append(view)
    return Blobs(folder).delete_unused() + delete_leftovers(folder, older_s=0), kept


def delete_leftovers(folder: Path, older_s: float) -> int:
    """Delete interrupted downloads, and return their size in bytes."""
    freed = 0
    for path in list(_leftovers(folder, time.time() - older_s)):
        lock = try_acquire(path.with_suffix(".lock"))
        if lock is None:
            continue  # still downloading
        with suppress(FileNotFoundError):
            size = path.stat().st_size
            path.unlink()
            freed += size
        path.with_suffix(".lock").unlink(missing_ok=True)
        release(lock)
    return freed


def size_text(size: float) -> str:
    """Format a number of bytes with a fitting unit."""
    for unit in _UNITS[:-1]:
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} {_UNITS[-1]}"


def _leftovers(folder: Path, before_s: float) -> Iterator[Path]:
    for path in (folder / "partial").glob("*"):
        with suppress(FileNotFoundError):
            if path.suffix != ".lock" and path.stat().st_ctime <= before_s:  # a sealed file's mtime is fixed
                yield path


def _forget(folder: Path, view: View) -> None:
    """Delete the index of a source with its last view."""
    if not any((folder / "views").glob(f"{view.source_key}-*")):
        (folder / "index" / f"{view.source_key}.jsonl").unlink(missing_ok=True)
