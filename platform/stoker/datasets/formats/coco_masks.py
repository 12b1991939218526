"""Masks drawn from the outlines of objects in the JSON of COCO: polygons, or run lengths."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture

from stoker.datasets.formats.boxed_pictures import require
from stoker.datasets.formats.coco import Listed, listed
from stoker.datasets.formats.format_inference import IMAGES, MASKS
from stoker.datasets.members import Content
from stoker.datasets.pictures.headers import Size, read_headers
from stoker.datasets.records import Files, RawColumn, Records
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset

BACKGROUND = "background"
MOST = 255
LEAST = 6
"""Numbers of a polygon: two for each corner."""
IMAGE, MASK = IMAGES.removesuffix("s"), MASKS.removesuffix("s")
Outline = tuple[str, Any, str]
"""Category, outline as COCO has it, and place for messages."""


def read(path: Path, dataset: Dataset) -> Records:
    """Read every picture with a mask of its objects, of which the small ones lie on the large ones.

    Value 0 is the background; the categories of all files follow in their order.

    Raises:
        JobError: a picture is missing, or a file or an outline is broken.

    """
    root, found = listed(path, _outline)
    if not found:
        raise JobError([Problem("dataset.source", f"no annotated pictures in '{root}'")])
    names = tuple(dict.fromkeys(name for each in found for name in each.categories))
    if len(names) > MOST:
        raise JobError([Problem("dataset.source", f"{len(names)} categories; a mask has at most {MOST}")])
    pictures = Files(tuple(each.picture for each in found), root)
    sizes = {header.file: header.size for header in read_headers(pictures)}
    require(
        f"cannot read {each.picture.relative_to(root)}; repair or remove it"
        for each in found
        if each.picture not in sizes
    )
    masks, mistakes = [], []
    for each in found:
        try:
            masks.append(Content(each.annotation, _drawn(each, sizes[each.picture], names)))
        except ValueError as error:
            mistakes.append(f"{each.annotation}: {error}")
    require(iter(mistakes))
    columns: dict[str, RawColumn] = {IMAGE: pictures, MASK: Files(tuple(masks), classes=(BACKGROUND, *names))}
    parts = np.array([each.part for each in found]) if found[0].part else None
    return Records(columns, MASK, parts, pictures.names())


def _outline(name: str, entry: dict[str, Any], where: str) -> Outline:
    return name, entry.get("segmentation"), where


def _drawn(picture: Listed[Outline], size: Size, names: tuple[str, ...]) -> bytes:
    """Return a PNG file with the category of each pixel.

    Raises:
        ValueError: an outline is none, or of another size.

    """
    drawn = [(1 + names.index(name), _inside(outline, size, where)) for name, outline, where in picture.objects]
    mask = np.zeros(size, np.uint8)
    for number, inside in sorted(drawn, key=lambda each: -int(each[1].sum())):
        mask[inside] = number
    written = io.BytesIO()
    Picture.fromarray(mask).save(written, "PNG", compress_level=1)
    return written.getvalue()


def _inside(outline: Any, size: Size, where: str) -> np.ndarray:
    """Return (height, width) whether a pixel is inside."""
    from faster_coco_eval.core import mask as coco  # half a second, which other formats do not pay for

    if isinstance(outline, dict) and list(outline.get("size", ())) != list(size):
        raise ValueError(f"{where} is of a picture of {outline.get('size')}, this one is {size[0]}x{size[1]}")
    try:
        inside: np.ndarray = coco.decode(coco.merge(_runs(outline, size))).astype(bool)
    except Exception as error:  # the library fails in whatever way its parts do
        cure = "write polygons [[x1, y1, x2, y2, x3, y3, ...]], or run lengths"
        raise ValueError(f"{where} has no 'segmentation' that can be drawn; {cure}") from error
    return inside


def _runs(outline: Any, size: Size) -> Any:
    """Return run lengths as the library has them.

    Raises:
        ValueError: the outline is of neither kind.

    """
    from faster_coco_eval.core import mask as coco

    if isinstance(outline, dict):
        packed = isinstance(outline["counts"], str | bytes)
        return [outline] if packed else coco.frPyObjects([outline], *size)
    corners = [list(map(float, polygon)) for polygon in outline]
    if not corners or any(len(polygon) < LEAST or len(polygon) % 2 for polygon in corners):
        raise ValueError("no polygon")
    return coco.frPyObjects(corners, *size)
