"""Samples as one picture for the record."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

COLUMNS = 8


def draw_pictures(path: Path, pixels: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw (height, width, channels) uint8 pictures with their true and predicted classes."""
    lines = -(-len(pixels) // COLUMNS)
    figure = Figure(figsize=(1.5 * COLUMNS, 2.0 * lines), layout="constrained")
    for place, (picture, row) in enumerate(zip(pixels, rows, strict=True), start=1):
        axes = figure.add_subplot(lines, COLUMNS, place)
        axes.imshow(picture[..., 0] if picture.shape[2] == 1 else picture, cmap="gray", vmin=0, vmax=255)
        axes.set_axis_off()
        right = row["target"] == row["prediction"]
        title = f"{row['target']}, taken for {row['prediction']}" if not right else f"{row['target']} (barely)"
        axes.set_title(f"{title}\n{row['sample']}", fontsize=6, color="black" if right else "firebrick")
    figure.savefig(path, dpi=130)
