"""Locations of file content: a file, a member of a tar archive, read without unpacking, or bytes in memory."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an uncompressed tar archive."""

    archive: Path
    name: str
    """The archive's name and the member's name in it."""
    begin: int
    """Offset of its first byte in the archive."""
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Content:
    """A file in memory, such as one of a request."""

    name: str
    content: bytes


Location = Path | Member | Content


def open_location(place: Location) -> BinaryIO:
    """Open a file; a member of an archive is read as a whole.

    Raises:
        EOFError: the archive ends before the member does.

    """
    if isinstance(place, Path):
        return place.open("rb")
    return io.BytesIO(read_location(place))


def read_location(place: Location) -> bytes:
    """Return the content of a file.

    Raises:
        EOFError: the archive ends before the member does.

    """
    if isinstance(place, Path):
        return place.read_bytes()
    if isinstance(place, Content):
        return place.content
    with place.archive.open("rb", buffering=0) as archive:
        archive.seek(place.begin)
        content = archive.read(place.size)
    if len(content) < place.size:
        raise EOFError(f"{place.archive.name} ends in the middle of it")
    return content


def size_of(place: Location) -> int:
    """Return the bytes of a file."""
    if isinstance(place, Content):
        return len(place.content)
    return place.stat().st_size if isinstance(place, Path) else place.size


def name_of(place: Location, root: Path | None) -> str:
    """Return the name of a file for messages, relative to the folder `root`."""
    if isinstance(place, Member | Content):
        return place.name
    return str(place.relative_to(root)) if root else str(place)
