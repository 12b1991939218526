"""Views: one listing of a source as a folder; every process that uses it holds a shared lock on its lease."""

import hashlib
import json
import os
import shutil
import threading
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from stoker.datasets.cache.locks import acquire, release, try_acquire
from stoker.datasets.sources.source import RemoteFile

_held: dict[Path, tuple[int, int]] = {}
"""The leases of this process and how often each is held. Most are held until it ends, since a returned path may be read
at any time."""

_holding = threading.Lock()


@dataclass(frozen=True)
class ViewFacts:
    """The metadata of a complete view."""

    source: str
    """The address, without passwords."""
    files: int
    size: int
    """Bytes."""


class View:
    """A folder of a source's files, complete once its facts are written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tree = path / "tree"
        self._facts = path / "view.json"
        self._lease = path / "lease"

    @property
    def source_key(self) -> str:
        """Return the key of the view's source."""
        return self.path.name.partition("-")[0]

    def hold(self) -> None:
        """Protect the view from deletion until it is released as often, or this process ends."""
        with _holding:
            lock, times = _held.get(self._lease, (None, 0))
            if lock is None or not self._lease.exists():  # the cache may have been deleted by hand
                lock = acquire(self._lease, shared=True)
            _held[self._lease] = lock, times + 1
        os.utime(self._lease)

    def release(self) -> None:
        """Undo one `hold`."""
        with _holding:
            lock, times = _held.pop(self._lease)
            if times > 1:
                _held[self._lease] = lock, times - 1
            else:
                release(lock)

    def local(self, files: Sequence[RemoteFile]) -> Path:
        """Return the path for readers: the file of a single-file source, otherwise the folder."""
        return self.tree / files[0].name if files[0].is_source else self.tree

    def is_complete(self) -> bool:
        """Return whether all files were present when the view was created."""
        return self._facts.exists()

    def complete(self, facts: ViewFacts) -> None:
        """Write the facts, which marks the view as complete."""
        draft = self._facts.with_name(f".view.{os.getpid()}-{threading.get_ident()}.json")
        draft.write_text(json.dumps(asdict(facts)), encoding="utf-8")
        draft.replace(self._facts)

    def facts(self) -> ViewFacts | None:
        """Read the facts; None while the view is incomplete."""
        try:
            return ViewFacts(**json.loads(self._facts.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def last_used_s(self) -> float:
        """Return the time of the last use, in seconds since the epoch."""
        try:
            return self._lease.stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def in_use(self) -> bool:
        """Return whether a living process holds it."""
        if not self._lease.exists():
            return False
        lock = try_acquire(self._lease)
        if lock is None:
            return True
        release(lock)
        return False

    def delete(self) -> bool:
        """Delete the view unless a living process holds it."""
        lock = try_acquire(self._lease)
        if lock is None:
            return False
        self._facts.unlink(missing_ok=True)
        shutil.rmtree(self.tree, ignore_errors=True)
        shutil.rmtree(self.path, ignore_errors=True)
        release(lock)
        return True


def views_in(cache: Path) -> list[View]:
    """Return all views, the least recently used first."""
    return sorted(map(View, (cache / "views").glob("*-*")), key=View.last_used_s)


def source_key(url: str) -> str:
    """Return the key of a source in the cache."""
    return hashlib.sha256(url.encode()).hexdigest()[:24]


def view_of(cache: Path, url: str, files: Sequence[RemoteFile]) -> View:
    """Return the view of one listing of a source; with a file without a version, each view is new."""
    listing = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.name):
        listing.update(json.dumps([file.name, file.version, file.size]).encode())
    key = listing.hexdigest()[:24] if all(file.version for file in files) else uuid.uuid4().hex[:24]
    return View(cache / "views" / f"{source_key(url)}-{key}")
