"""Samples as one image for the record."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

COLUMNS = 8


def draw_images(path: Path, images: Sequence[Sequence[np.ndarray]], rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw samples with their true and predicted values.

    Args:
        path: the PNG file.
        images: of each sample one or more (height, width, channels) uint8 images of one size.
        rows: `target`, `prediction` and `sample` of each.

    """
    from matplotlib.figure import Figure  # a second to import, and needed at the end alone

    columns = max(1, COLUMNS // len(images[0]))
    lines = -(-len(images) // columns)
    figure = Figure(figsize=(12.0, (12.0 / columns / len(images[0]) + 0.5) * lines), layout="constrained")
    for place, (several, row) in enumerate(zip(images, rows, strict=True), start=1):
        axes = figure.add_subplot(lines, columns, place)
        axes.imshow(np.concatenate([_coloured(image) for image in several], axis=1))
        axes.set_axis_off()
        right = row["target"] == row["prediction"]
        title = f"{row['target']}, predicted {row['prediction']}" if not right else f"{row['target']} (barely)"
        axes.set_title(f"{title}\n{row['sample']}", fontsize=6, color="black" if right else "firebrick")
    figure.savefig(path, dpi=130)


def draw_grid(path: Path, images: np.ndarray, names: Sequence[str]) -> None:
    """Draw (N, height, width, channels) uint8 images, COLUMNS a row, each row with its name."""
    from matplotlib.figure import Figure

    lines = len(images) // COLUMNS
    figure = Figure(figsize=(COLUMNS, lines), layout="constrained")
    for place, image in enumerate(images):
        axes = figure.add_subplot(lines, COLUMNS, place + 1)
        axes.imshow(_coloured(image))
        axes.set_xticks([])
        axes.set_yticks([])
        if names and place % COLUMNS == 0:
            axes.set_ylabel(names[place // COLUMNS], fontsize=8)
    figure.savefig(path, dpi=100)


def _coloured(image: np.ndarray) -> np.ndarray:
    return image.repeat(3, axis=2) if image.shape[2] == 1 else image
