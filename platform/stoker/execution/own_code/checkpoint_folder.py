"""The folder in which a script keeps its checkpoints: watched for changes, and mirrored to the run's storage."""

import contextlib
import mmap
import os
import threading
from pathlib import Path

from stoker.atomic_files import replace_file
from stoker.storage import Storage

PREFIX = "script"
"""Of the mirrored files in the storage."""
COUNT = "script_saves"
"""The number of times that the folder has changed; it tells the driver whether an attempt has made progress."""
SYNC_EVERY_S = 2.0

Files = dict[str, tuple[int, int]]
"""Time of modification in nanoseconds and size, by path relative to the folder."""


class CheckpointFolder:
    """Follows a folder in a thread of its own, and copies what has changed.

    Several workers may mirror to one storage if they write different files; each deletes only what it has written.

    Args:
        folder: of the script.
        storage: receives copies; None where the folder itself survives.
        counts: whether this worker counts the changes: the first one does.

    """

    def __init__(self, folder: Path, storage: Storage | None, counts: bool) -> None:
        self.folder = folder
        self._storage = storage
        self._counts = counts
        self._count_file = folder.parent / COUNT
        self._known: Files = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="checkpoint-folder", daemon=True)
        self.saves = 0
        """Number of changes so far, those of earlier attempts included."""

    def open(self) -> None:
        """Create the folder, fetch what earlier attempts have left in the storage, and start to follow.

        Raises:
            StorageError: the storage does not answer, or denies access.

        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._storage is not None:
            self._storage.download_folder(PREFIX, self.folder)
            if COUNT in self._storage.keys(""):
                self._count_file.write_bytes(self._storage.get(COUNT))
        with contextlib.suppress(FileNotFoundError, ValueError):
            self.saves = int(self._count_file.read_text(encoding="ascii"))
        self._known = self._files()
        self._thread.start()

    def close(self) -> None:
        """Copy the last changes, and end the thread.

        Raises:
            StorageError: the storage does not answer, or denies access.

        """
        self._over.set()
        self._thread.join()
        self.sync()

    def sync(self) -> None:
        """Copy what has changed since the last time."""
        found = self._files()
        changed = [name for name, facts in found.items() if self._known.get(name) != facts]
        gone = [name for name in self._known if name not in found]
        if not changed and not gone:
            return
        if self._storage is not None:
            for name in changed:
                self._put(self._storage, name)
            self._storage.delete(f"{PREFIX}/{name}" for name in gone)
        self._known = found
        if self._counts and changed:
            self.saves += 1
            replace_file(self._count_file, str(self.saves))
            if self._storage is not None:
                self._storage.put(COUNT, [str(self.saves).encode()])

    def _follow(self) -> None:
        while not self._over.wait(SYNC_EVERY_S):
            with contextlib.suppress(Exception):  # `close` tells of a storage that still refuses
                self.sync()

    def _files(self) -> Files:
        found: Files = {}
        for root, _, names in os.walk(self.folder):
            for name in names:
                path = Path(root, name)
                with contextlib.suppress(FileNotFoundError):  # renamed or deleted meanwhile
                    facts = path.stat()
                    found[path.relative_to(self.folder).as_posix()] = (facts.st_mtime_ns, facts.st_size)
        return found

    def _put(self, storage: Storage, name: str) -> None:
        with contextlib.suppress(FileNotFoundError), (self.folder / name).open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                storage.put(f"{PREFIX}/{name}", [b""])
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content, memoryview(content) as view:
                storage.put(f"{PREFIX}/{name}", [view])
