"""A contact sheet: some images of a dataset with their labels, as one image file."""

from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

import numpy as np
import pandas as pd

from stoker.datasets.pictures.images import decode_images
from stoker.datasets.pictures.masks import decode_masks
from stoker.datasets.records import Files, RawColumn, pick
from stoker.datasets.report.examination import Examined
from stoker.datasets.values.boxes import Boxed, holds_boxes
from stoker.errors import JobError, Problem

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SAMPLES = 24
COLUMNS = 6
SIDE = 128
"""Pixels of a drawn image."""


def draw_sheet(examined: Examined, path: Path) -> None:
    """Draw images with their masks, boxes or labels, taken evenly from the whole dataset.

    Raises:
        JobError: the samples have no images, or one cannot be decoded.

    """
    from matplotlib.figure import Figure

    records = examined.records
    index = np.unique(np.linspace(0, len(records) - 1, min(SAMPLES, len(records))).astype(int))
    images = [name for name, kind in examined.roles.inputs.items() if kind == "image"]
    if not images:
        message = "a sheet shows images; these samples are rows, which the table above describes"
        raise JobError([Problem("", message)])
    label = records.columns.get(examined.roles.target)
    titles = [str(each) for each in label.iloc[index]] if isinstance(label, pd.Series) else [""] * len(index)
    drawn = _pixels(pick(records.columns[images[0]], index))
    boxes = [Boxed.read(text) for text in label.iloc[index]] if _holds_boxes(label) else []
    titles = [f"{len(each.boxes)} boxes" for each in boxes] or titles
    masks = None if label is None or isinstance(label, pd.Series) else _masks(pick(label, index))
    lines = -(-len(index) // COLUMNS)
    figure = Figure(figsize=(2 * COLUMNS, 2.2 * lines), layout="constrained")
    for place, (image, title) in enumerate(zip(drawn, titles, strict=True)):
        axes = figure.add_subplot(lines, COLUMNS, place + 1)
        axes.imshow(image[..., 0] if image.shape[2] == 1 else image, cmap="gray", vmin=0, vmax=255)
        if masks is not None:
            axes.imshow(np.ma.masked_equal(masks[place], 0), cmap="autumn", alpha=0.4)
        if boxes:
            _outline(axes, boxes[place], image.shape[:2])
        axes.set_axis_off()
        axes.set_title(title, fontsize=8)
    figure.savefig(path, dpi=100)


def _holds_boxes(label: RawColumn | None) -> TypeGuard[pd.Series]:
    return isinstance(label, pd.Series) and holds_boxes(label)


def _outline(axes: "Axes", boxed: Boxed, size: tuple[int, int]) -> None:
    """Draw the boxes of a picture, in the size in which it is drawn."""
    from matplotlib.patches import Rectangle

    down, right = size[0] / boxed.height, size[1] / boxed.width
    for box in boxed.boxes:
        width, height = (box.right - box.left) * right, (box.bottom - box.top) * down
        corner = (box.left * right - 0.5, box.top * down - 0.5)
        axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor="orangered", linewidth=1))


def _pixels(column: RawColumn) -> np.ndarray:
    if isinstance(column, Files):
        return decode_images(column, (SIDE, SIDE))
    assert isinstance(column, np.ndarray)
    return column


def _masks(column: RawColumn) -> np.ndarray:
    if isinstance(column, Files):
        return decode_masks(column, (SIDE, SIDE))
    assert isinstance(column, np.ndarray)
    return column
