"""Checksums of a source's files by name and version: one line of JSON each, appended when a file is cached."""

import json
from pathlib import Path

from stoker.datasets.cache.blobs import Blob
from stoker.datasets.cache.locks import locked
from stoker.datasets.sources.source import RemoteFile


class Index:
    """The index of one source; every process appends to it and reads the others' entries."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._known: dict[tuple[str, str], Blob] = {}

    def find(self, file: RemoteFile) -> Blob | None:
        """Return the content of a file; None if it was never fetched or has no version."""
        if not file.version:
            return None
        key = (file.name, file.version)
        if key not in self._known:
            self._read_on()
        return self._known.get(key)

    def add(self, file: RemoteFile, blob: Blob) -> None:
        """Append the content of a file."""
        if not file.version:
            return
        line = json.dumps([file.name, file.version, blob.sha256, blob.size]).encode() + b"\n"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with locked(self._path), self._path.open("a+b") as out:
            if out.tell():
                out.seek(-1, 2)
                line = line if out.read(1) == b"\n" else b"\n" + line  # a writer was killed in the middle of a line
            out.write(line)
        self._known[file.name, file.version] = blob

    def _read_on(self) -> None:
        """Read the complete lines appended since the last read."""
        if not self._path.exists():
            return
        with self._path.open("rb") as lines:
            if self._path.stat().st_size < self._read:
                self._read = 0  # it was deleted with the last view, and recreated
            lines.seek(self._read)
            text, end, _ = lines.read().rpartition(b"\n")
        self._read += len(text) + len(end)
        for line in text.splitlines():
            if entry := _entry(line):
                self._known[entry[0]] = entry[1]


def _entry(line: bytes) -> tuple[tuple[str, str], Blob] | None:
    try:
        name, version, sha256, size = json.loads(line)
        return (str(name), str(version)), Blob(str(sha256), int(size))
    except (ValueError, TypeError):
        return None
