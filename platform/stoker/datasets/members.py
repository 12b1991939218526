"""Where the content of a file lies: in a file of its own, or in a tar archive, which is read without unpacking it."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an uncompressed tar archive."""

    archive: Path
    name: str
    """What to call it: the archive and its name in it."""
    begin: int
    """Place of its first byte in the archive."""
    size: int
    """Bytes."""


Place = Path | Member


def open_place(place: Place) -> BinaryIO:
    """Open a file; a member of an archive is read as a whole.

    Raises:
        EOFError: the archive ends before the member does.

    """
    if isinstance(place, Path):
        return place.open("rb")
    return io.BytesIO(read_place(place))


def read_place(place: Place) -> bytes:
    """Return the content of a file.

    Raises:
        EOFError: the archive ends before the member does.

    """
    if isinstance(place, Path):
        return place.read_bytes()
    with place.archive.open("rb", buffering=0) as archive:
        archive.seek(place.begin)
        content = archive.read(place.size)
    if len(content) < place.size:
        raise EOFError(f"{place.archive.name} ends in the middle of it")
    return content


def size_of(place: Place) -> int:
    """Return the bytes of a file."""
    return place.stat().st_size if isinstance(place, Path) else place.size


def name_of(place: Place, root: Path | None) -> str:
    """Return what to call a file in a message, without the folder `root`."""
    if isinstance(place, Member):
        return place.name
    return str(place.relative_to(root)) if root else str(place)
