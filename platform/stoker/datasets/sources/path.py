"""A file or folder of this machine, or a pattern that matches several."""

import glob
import shutil
from pathlib import Path

from stoker.datasets.sources.source import RemoteFile, Source, source_error


class PathSource(Source):
    """A path, or a pattern such as `data/*.csv` or `data/**/*.png`."""

    def __init__(self, source: str) -> None:
        self.path = Path(source).expanduser().absolute()
        super().__init__(str(self.path), source)
        self._root = _root(self.path)

    @staticmethod
    def problem(source: str) -> str:
        """Return why a string cannot be a path."""
        return "a path cannot hold a NUL character" if "\0" in source else ""

    def matches(self) -> list[Path]:
        """Return the path, or all visible matches of the pattern, sorted."""
        if self.path.exists():
            return [self.path]
        if not is_pattern(self.shown):
            return []
        return sorted(map(Path, glob.glob(self.url, recursive=True)))  # noqa: PTH207  # Path.glob rejects absolute ones

    def files(self) -> list[RemoteFile]:
        """List the file, all files of the folder, or all that match the pattern."""
        matches = self.matches()
        found = sorted({file for match in matches for file in _files(match)})
        if not found:
            raise source_error(f"no file matches '{self.shown}'" if not matches else f"no files in '{self.shown}'")
        single = found == [self.path]
        return [self._listed(file, single) for file in found]

    def local(self, file: RemoteFile) -> Path:
        """Return the path of a listed file."""
        return self.path if file.is_source else self._root / file.name

    def fetch(self, file: RemoteFile, target: Path) -> None:
        """Copy a file."""
        shutil.copyfile(self.local(file), target)

    def _listed(self, file: Path, single: bool) -> RemoteFile:
        facts = file.stat()
        name = file.name if single else file.relative_to(self._root).as_posix()
        return RemoteFile(name, facts.st_size, f"mtime:{facts.st_mtime_ns}", is_source=single)


def is_pattern(source: str) -> bool:
    """Return whether a path that does not exist is a pattern of paths."""
    return glob.has_magic(source) and not Path(source).expanduser().exists()


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return [file for file in path.rglob("*") if file.is_file()]


def _root(path: Path) -> Path:
    """Return the folder of all matches: the part of a pattern before its first magic character."""
    if path.exists():
        return path
    fixed = Path(*[*_fixed_parts(path)])
    return fixed if fixed != path else path.parent


def _fixed_parts(path: Path) -> list[str]:
    parts: list[str] = []
    for part in path.parts:
        if glob.has_magic(part):
            break
        parts.append(part)
    return parts
