"""What passes between a driver and workers that share no disk: the run's files on their way there, and what comes back.

Such a worker has a folder of its own for the run. The driver's folder follows the first worker's: its journal and its
progress with each sign of life, model and pictures at the end.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stoker.storage import Storage
from stoker.tracking.journal import read_journal
from stoker.tracking.run_folder import RunFolder

RESULTS = "results"
"""Below this key of a storage are files in pieces, one object each."""
PIECE_BYTES = 16 << 20
"""How much of a file crosses at once: neither side holds a whole model a second time."""


@dataclass(frozen=True)
class News:
    """What has changed in a worker's folder; empty for nothing."""

    journal: bytes = b""
    """Whole lines behind those that the driver has."""
    progress: bytes = b""
    resolved: bytes = b""


def pack(folder: RunFolder) -> dict[str, bytes]:
    """Read what a worker needs of the driver's folder, by path below it."""
    paths = [folder.path / "run.json", folder.job, folder.resolved, folder.journal, folder.path / "progress.json"]
    paths += [path for path in folder.code.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder.path)): path.read_bytes() for path in paths if path.exists()}


def unpack(files: dict[str, bytes], run: str, whose: str) -> RunFolder:
    """Lay the files out in somebody's own folder for the run, which an earlier attempt may have left."""
    folder = RunFolder(Path(tempfile.gettempdir()) / f"stoker-{os.getuid()}-{run}-{whose}")
    folder.path.mkdir(mode=0o700, exist_ok=True)
    folder.resolved.unlink(missing_ok=True)
    folder.journal.unlink(missing_ok=True)
    for place in (folder.code, folder.model, folder.artifacts):
        shutil.rmtree(place, ignore_errors=True)
    write_files(folder.path, files)
    return folder


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files by their paths below a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def news_of(folder: RunFolder, position: int) -> News:
    """Tell what has changed in a worker's folder, its journal from a byte position on."""
    journal = b""
    if folder.journal.exists():
        with folder.journal.open("rb") as file:
            file.seek(position)
            journal = file.read()
        journal = journal[: journal.rfind(b"\n") + 1]
    return News(journal, _content(folder.path / "progress.json"), _content(folder.resolved))


def take_news(folder: RunFolder, news: News) -> None:
    """Bring the driver's folder up to what a worker's has become."""
    if news.journal:
        with folder.journal.open("ab") as file:
            file.write(news.journal)
    for path, content in ((folder.path / "progress.json", news.progress), (folder.resolved, news.resolved)):
        if content and content != _content(path):
            draft = path.with_name(f".{path.name}.mirror")
            draft.write_bytes(content)
            draft.replace(path)


def whole_journal(folder: RunFolder) -> int:
    """Cut off the half line that a killed writer has left, and return the journal's length in bytes."""
    if not folder.journal.exists():
        return 0
    whole = max((after for _, after in read_journal(folder.journal)), default=0)
    os.truncate(folder.journal, whole)
    return whole


def results_of(folder: RunFolder) -> dict[str, int]:
    """List what a worker leaves for the record: paths below its folder, with their sizes in bytes."""
    found = [path for place in (folder.model, folder.artifacts) for path in place.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder.path)): path.stat().st_size for path in found}


def piece_of(folder: RunFolder, name: str, start: int) -> bytes:
    """Read a piece of a result."""
    with (folder.path / name).open("rb") as file:
        file.seek(start)
        return file.read(PIECE_BYTES)


def pieces_of(size: int) -> Iterator[int]:
    """Say where the pieces of a file begin; an empty one has a piece, too."""
    yield from range(0, max(size, 1), PIECE_BYTES)


def keep_results(folder: RunFolder, storage: Storage) -> None:
    """Put what a worker leaves for the record beside its checkpoints, in place of what is there."""
    storage.clear(RESULTS)
    for name, size in results_of(folder).items():
        for start in pieces_of(size):
            storage.put(f"{RESULTS}/{name}/{start:015d}", [piece_of(folder, name, start)])


def fetch_results(folder: RunFolder, storage: Storage) -> None:
    """Bring home what was kept so."""
    for key in storage.keys(RESULTS):
        name, _, start = key.removeprefix(f"{RESULTS}/").rpartition("/")
        path = folder.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab" if int(start) else "wb") as file:
            file.write(storage.get(key))


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
