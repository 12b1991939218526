"""Mask files: numbers, palettes or colours that stand for the classes of pixels."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image as Picture
from PIL import ImageOps

from stoker.datasets.fields.inference import Roles
from stoker.datasets.members import Location
from stoker.datasets.pictures.headers import Header, Size, read_headers
from stoker.datasets.pictures.images import check_sizes, decoded, opened
from stoker.datasets.records import Files, Records
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset, Mask
from stoker.job.task import TaskRow

GREY, PALETTE, COLOUR = "grey", "palette", "colour"
KINDS = {
    **dict.fromkeys(("1", "L", "I", "I;16"), GREY),
    **dict.fromkeys(("P", "PA"), PALETTE),
    **dict.fromkeys(("RGB", "RGBA"), COLOUR),
}
"""Pillow's modes of mask files."""
LOSSY = frozenset({"JPEG", "MPO"})
"""Formats that change values."""
MAX_COLOURS = 64
SHOWN = 3


def decode_masks(files: Files, size: Size | None) -> np.ndarray:
    """Decode mask files to one array (N, height, width) uint8: values of pixels, or places in `files.colours`.

    Raises:
        JobError: a file does not decode or has an unknown colour, or sizes differ and `size` is None.

    """
    if len(files) == 0:
        return np.zeros((0, *(size or (0, 0))), np.uint8)
    arrays = decoded(files, lambda file: _decode(file, size, files.colours))
    check_sizes(files, arrays)
    return np.stack(arrays)


def with_colours(records: Records, roles: Roles, dataset: Dataset, task: TaskRow) -> Records:
    """Return records whose masks know the colours that stand for classes, if they are coded by colours.

    Raises:
        JobError: masks are of several kinds, have too many colours, or other ones than the job names.

    """
    masks = records.columns.get(roles.target)
    if task.target != "mask" or not isinstance(masks, Files) or masks.content is not None:
        return records
    kind = _kind_of(masks)
    named = [
        *(dataset.mask.classes or {}).values(),
        *([dataset.mask.ignore] if dataset.mask.ignore is not None else []),
    ]
    by_colour = any(isinstance(value, str) for value in named)
    if kind == COLOUR and named and not by_colour:
        message = "names numbers, but the masks are coded by colours; write colours, such as '#ff0000'"
        raise JobError([Problem("dataset.mask.classes" if dataset.mask.classes else "dataset.mask.ignore", message)])
    if kind == GREY and by_colour:
        message = "names colours, but the masks hold numbers; write these"
        raise JobError([Problem("dataset.mask.classes" if dataset.mask.classes else "dataset.mask.ignore", message)])
    if kind != COLOUR and not by_colour:
        return records
    colours = _colours(masks, dataset.mask)
    return replace(records, columns={**records.columns, roles.target: replace(masks, colours=colours)})


def nearest(mask: np.ndarray, size: Size) -> np.ndarray:
    """Return a mask (height, width[, 3]) uint8 in another size, without new values."""
    if mask.shape[:2] == size:
        return mask
    return np.asarray(Picture.fromarray(mask).resize((size[1], size[0]), Picture.Resampling.NEAREST))


def hex_of(colour: int) -> str:
    """Return a colour as `#rrggbb`."""
    return f"#{colour:06x}"


def palette_of(files: Files) -> tuple[int, ...]:
    """Return the palette of the first mask file, three numbers a colour; nothing if it has none."""
    found = opened(files.paths[0], lambda image: np.array(image.getpalette() or [], np.uint8)) if len(files) else ""
    return () if isinstance(found, str) else tuple(found.tolist())


def _colours(files: Files, mask: Mask) -> tuple[int, ...]:
    """Return the colours of classes, and of what is ignored: those that the job names, or all that there are."""
    ignored = [_number(mask.ignore)] if isinstance(mask.ignore, str) else []
    if mask.classes:
        return (*(_number(str(value)) for value in mask.classes.values()), *ignored)
    found: dict[int, str] = {}
    names = files.names()
    uniques = decoded(files, lambda file: opened(file, lambda image: np.unique(_packed(image))))
    for name, colours in zip(names, uniques, strict=True):
        for colour in colours.tolist():
            found.setdefault(colour, name)
        if len(found) > MAX_COLOURS:
            message = f"the masks have more than {MAX_COLOURS} colours by {name}; a mask has a colour a class"
            cure = "were they saved as jpeg, or resized with smoothing? Name the colours in dataset.mask.classes"
            raise JobError([Problem("dataset.source", f"{message} ({cure})")])
    return tuple(sorted(found.keys() - set(ignored))) + tuple(ignored)


def _number(colour: str) -> int:
    return int(colour[1:], 16)


def _kind_of(files: Files) -> str:
    """Return the kind of masks.

    Raises:
        JobError: they are of several kinds, or cannot be masks.

    """
    kinds: dict[str, list[Header]] = {}
    for header in read_headers(files):
        kinds.setdefault(KINDS.get(header.mode, header.mode), []).append(header)
    if len(kinds) > 1:
        raise JobError([Problem("dataset.source", _mixture(files, kinds))])
    return next(iter(kinds), GREY)  # decoding reports unreadable files


def _mixture(files: Files, kinds: dict[str, list[Header]]) -> str:
    names = dict(zip(files.paths, files.names(), strict=True))
    common, *others = sorted(kinds, key=lambda kind: -len(kinds[kind]))
    shown = ", ".join(f"{names[kinds[kind][0].file]} ({kind})" for kind in others[:SHOWN])
    return f"the masks are of several kinds: most are {common}, but not {shown}; save all of them in one way"


def _decode(file: Location, size: Size | None, colours: Sequence[int]) -> np.ndarray | str:
    def plain(image: Picture.Image) -> np.ndarray:
        if image.format in LOSSY:
            raise ValueError(f"a {image.format} file, whose compression changes values; save masks as png")
        upright = ImageOps.exif_transpose(image)
        single = Picture.fromarray(_by_colour(upright, colours) if colours else _by_number(upright))
        if size is not None and single.size != (size[1], size[0]):
            single = single.resize((size[1], size[0]), Picture.Resampling.NEAREST)
        return np.asarray(single, np.uint8)

    return opened(file, plain)


def _by_number(image: Picture.Image) -> np.ndarray:
    if KINDS.get(image.mode) not in (GREY, PALETTE):
        raise ValueError(f"a mask holds one class value a pixel, this is {image.mode}")
    values = np.asarray(image.convert("L") if image.mode == "1" else image)
    if values.max(initial=0) > 255:
        raise ValueError("a mask holds class values up to 255")
    return values.astype(np.uint8)


def _by_colour(image: Picture.Image, colours: Sequence[int]) -> np.ndarray:
    """Return (height, width) uint8 places of the colours.

    Raises:
        ValueError: one is unknown.

    """
    packed = _packed(image)
    order = np.argsort(colours)
    known = np.array(colours)[order]
    places = np.searchsorted(known, packed).clip(max=len(known) - 1)
    unknown = known[places] != packed
    if unknown.any():
        y, x = (int(each[0]) for each in np.nonzero(unknown))
        listed = ", ".join(hex_of(colour) for colour in colours[:MAX_COLOURS])
        raise ValueError(f"it has the colour {hex_of(int(packed[y, x]))} at row {y}, column {x}; known are {listed}")
    found: np.ndarray = order.astype(np.uint8)[places]
    return found


def _packed(image: Picture.Image) -> np.ndarray:
    """Return (height, width) colours as 0xRRGGBB."""
    red, green, blue = np.moveaxis(np.asarray(image.convert("RGB"), np.int64), 2, 0)
    packed: np.ndarray = red << 16 | green << 8 | blue
    return packed
