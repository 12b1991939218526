"""Looks over the headers of a dataset's image files: chooses a size, and notes what is unusual."""

from dataclasses import dataclass, replace

import numpy as np

from stoker.datasets.fields.inference import Roles
from stoker.datasets.pictures.headers import Header, Size, mode_notes, read_headers, used_bits
from stoker.datasets.records import Files, Records
from stoker.job.dataset import Dataset
from stoker.job.signature import ImageInput
from stoker.job.task import TaskRow

SURVEYED_FILES = 5000
"""Most files of a column whose headers are read."""
SIDES = (128, 96, 64, 48, 32)
"""Sides of squares to choose from."""
LARGEST_SIDE = 256
"""Images with a longer side are made smaller, if they are recognised as a whole."""
SMALLER = frozenset({"category", "tags", "normality", "text", "boxes"})
"""Kinds of target for which a smaller image will do."""
LONGEST_SIDE, MULTIPLE = 640, 32
"""Longest side of images in which objects are found, and what both sides are multiples of: that of coarse maps."""


@dataclass(frozen=True)
class Survey:
    """What is known of images before they are decoded."""

    records: Records
    """With the bits that deep grey files use."""
    dataset: Dataset
    """With a size, if the job sets none and the images need one."""
    notes: tuple[str, ...]
    shape: ImageInput | None
    """Of the first column of images; None without any."""


def survey(records: Records, roles: Roles, dataset: Dataset, task: TaskRow) -> Survey:
    """Look over all images.

    Args:
        records: with files, or with images in memory.
        roles: of their columns.
        dataset: the section of the job.
        task: to learn.

    """
    columns, shapes, sizes, notes = dict(records.columns), [], list[Size](), list[str]()
    for name in (name for name, kind in roles.inputs.items() if kind == "image"):
        column = columns[name]
        if isinstance(column, Files):
            headers = read_headers(_spread(column, SURVEYED_FILES))
            columns[name] = replace(column, bits=used_bits(headers))
            notes += mode_notes(headers, used_bits(headers))
            sizes += [header.size for header in headers]
            shapes += [_shape(headers)] if headers else []
        elif isinstance(column, np.ndarray) and column.ndim == 4:
            shapes.append(ImageInput(column.shape[3], *column.shape[1:3]))
    size, why = _size(sizes, dataset, task)
    if size:
        dataset = dataset.model_copy(update={"image": dataset.image.model_copy(update={"size": size})})
    shape = next(iter(shapes), None)
    if shape and dataset.image.size:
        shape = ImageInput(shape.channels, *dataset.image.size)
    return Survey(replace(records, columns=columns), dataset, (*notes, *why), shape)


def _spread(files: Files, most: int) -> Files:
    """Return at most so many files from all over a column."""
    return files.rows(np.unique(np.linspace(0, len(files) - 1, min(most, len(files))).astype(int)))


def _shape(headers: list[Header]) -> ImageInput:
    """Return the most channels of all files, and the size of the first one."""
    return ImageInput(max(header.channels for header in headers), *headers[0].size)


def _size(sizes: list[Size], dataset: Dataset, task: TaskRow) -> tuple[Size | None, list[str]]:
    """Return a size for images that differ in theirs or are large, unless the job sets one, and a note on it."""
    if dataset.image.size or not sizes:
        return None, []
    (height, width), (other, wide) = min(sizes), max(sizes)
    if len(set(sizes)) > 1:
        found = f"the images differ in size, from {height}x{width} to {other}x{wide} (height x width)"
    elif max(height, width) > (LONGEST_SIDE if task.target == "boxes" else LARGEST_SIDE) and task.target in SMALLER:
        found = f"the images are large, {height}x{width} (height x width)"
    else:
        return None, []
    chosen = proportional_size(sizes) if task.target == "boxes" else (common_side(sizes),) * 2
    return chosen, [f"{found}: resized to {chosen[0]}x{chosen[1]}; dataset.image.size sets another size"]


def proportional_size(sizes: list[Size]) -> Size:
    """Return a size with the proportions of most images, which leaves small objects as large as it can."""
    heights, widths = zip(*sizes, strict=True)
    height, width = float(np.median(heights)), float(np.median(widths))
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    rows, columns = (max(MULTIPLE, round(side * scale / MULTIPLE) * MULTIPLE) for side in (height, width))
    return rows, columns


def common_side(sizes: list[Size]) -> int:
    """Return the side of a square for images of different sizes: few are enlarged, and none is large."""
    sides = sorted(min(size) for size in sizes)
    small = sides[len(sides) // 10]
    return next((side for side in SIDES if side <= small), SIDES[-1])
