"""The folder of a worker that shares no disk with its driver: sent as bytes, and mirrored back while it trains."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stoker.atomic_files import replace_file
from stoker.tracking.journal import Journal, pictures_in, read_entries
from stoker.tracking.run_folder import RunFolder


@dataclass(frozen=True)
class FolderUpdate:
    """Changes of a worker's folder; empty fields are unchanged."""

    journal: bytes = b""
    """Complete lines after the requested position."""
    progress: bytes = b""
    resolved: bytes = b""
    pictures: dict[str, bytes] = field(default_factory=dict)
    """Pictures of the journal's lines, by path relative to the folder."""


class FolderReplica:
    """The driver's replica of a worker's folder: journal, pictures, progress and resolved job.

    Args:
        folder: the driver's folder of the run.

    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._journal = Journal(folder.journal)
        self.journal_bytes = folder.journal.stat().st_size
        """How much of the worker's journal is known, if it began with a copy of this one."""

    def apply(self, update: FolderUpdate) -> None:
        """Merge an update into the folder; journal entries that it has already are skipped."""
        self.journal_bytes += len(update.journal)
        write_files(self._folder.path, update.pictures)
        for entry in read_entries(update.journal):
            self._journal.copy(entry)
        self._journal.flush()
        folder = self._folder
        for path, content in ((folder.progress_file, update.progress), (folder.resolved, update.resolved)):
            if content and content != _content(path):
                replace_file(path, content, sync=False)  # the worker has a copy

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()


def pack(folder: RunFolder) -> dict[str, bytes]:
    """Read the files that a worker needs, by path relative to the folder."""
    paths = [folder.header_file, folder.job, folder.resolved, folder.journal, folder.progress_file]
    paths += [path for path in folder.code.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder.path)): path.read_bytes() for path in paths if path.exists()}


def unpack(files: Mapping[str, bytes], run: str, owner: str) -> RunFolder:
    """Write a run's files to a folder of this process, replacing those of an earlier attempt."""
    folder = RunFolder(Path(tempfile.gettempdir()) / f"stoker-{os.getuid()}-{run}-{owner}")
    folder.path.mkdir(mode=0o700, exist_ok=True)
    folder.resolved.unlink(missing_ok=True)
    folder.journal.unlink(missing_ok=True)
    for path in (folder.code, folder.model, folder.artifacts, folder.pictures):
        shutil.rmtree(path, ignore_errors=True)
    write_files(folder.path, files)
    return folder


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files by path relative to a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def folder_update(folder: RunFolder, position: int) -> FolderUpdate:
    """Read the changes of a worker's folder; the journal from a byte position on."""
    journal = b""
    if folder.journal.exists():
        with folder.journal.open("rb") as file:
            file.seek(position)
            journal = file.read()
        journal = journal[: journal.rfind(b"\n") + 1]
    paths = {name: folder.path / name for name in pictures_in(journal)}
    pictures = {name: path.read_bytes() for name, path in paths.items() if path.exists()}
    return FolderUpdate(journal, _content(folder.progress_file), _content(folder.resolved), pictures)


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
