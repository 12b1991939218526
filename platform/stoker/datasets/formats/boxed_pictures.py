"""Makes records of pictures and the boxes in them, whatever format they were read from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from stoker.datasets.members import Location
from stoker.datasets.pictures.headers import Size, read_headers
from stoker.datasets.records import Files, RawColumn, Records
from stoker.datasets.values.boxes import Box, Boxed
from stoker.errors import JobError, Problem

IMAGE, BOXES = "image", "boxes"
"""Names of the columns."""
SHOWN = 3


@dataclass(frozen=True)
class Annotated:
    """A picture with what its annotation says."""

    picture: Path
    annotation: str
    """Where it is written, for messages."""
    boxes: tuple[Box, ...]
    part: str = ""
    in_shares: bool = False
    """Whether the sides are shares of the picture's, not pixels."""


def records_of(root: Path, found: Sequence[Annotated]) -> Records:
    """Return a record for each picture.

    Raises:
        JobError: there are no pictures, one is annotated twice or is broken, or a box is impossible.

    """
    if not found:
        raise JobError([Problem("dataset.source", f"no annotated pictures in '{root}'")])
    files = Files(tuple(each.picture for each in found), root)
    sizes = {header.file: header.size for header in read_headers(files)}
    require(_broken(found, sizes, root))
    in_pixels = [_in_pixels(each, sizes[each.picture]) for each in found]
    require(
        f"{each.annotation}: box {number} ({box.name}) {mistake}"
        for each, boxes in zip(found, in_pixels, strict=True)
        for number, box in enumerate(boxes, 1)
        if (mistake := box.mistake(*sizes[each.picture]))
    )
    texts = [
        Boxed(*sizes[each.picture], tuple(box.within(*sizes[each.picture]) for box in boxes)).text()
        for each, boxes in zip(found, in_pixels, strict=True)
    ]
    columns: dict[str, RawColumn] = {IMAGE: files, BOXES: pd.Series(texts, dtype=object)}
    parts = np.array([each.part for each in found]) if found[0].part else None
    return Records(columns, BOXES, parts, files.names())


def require(mistakes: Iterator[str]) -> None:
    """Raise JobError with the first mistakes, if there are any."""
    everything = list(mistakes)
    if everything:
        more = f" (and {len(everything) - SHOWN} more of this kind)" if len(everything) > SHOWN else ""
        shown = [*everything[: SHOWN - 1], everything[SHOWN - 1] + more] if more else everything
        raise JobError([Problem("dataset.source", each) for each in shown])


def _broken(found: Sequence[Annotated], sizes: Mapping[Location, Size], root: Path) -> Iterator[str]:
    """Yield the pictures that are annotated twice, and those whose size cannot be read."""
    seen: dict[Path, str] = {}
    for each in found:
        if each.picture in seen:
            name = each.picture.relative_to(root)
            yield f"{name} is annotated twice, in {seen[each.picture]} and {each.annotation}; remove one of them"
        seen[each.picture] = each.annotation
        if each.picture not in sizes:
            yield f"cannot read {each.picture.relative_to(root)}; repair or remove it, and its annotation"


def _in_pixels(each: Annotated, size: Size) -> list[Box]:
    height, width = size if each.in_shares else (1, 1)
    return [
        Box(box.name, box.left * width, box.top * height, box.right * width, box.bottom * height) for box in each.boxes
    ]
