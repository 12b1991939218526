"""Formatting of Optuna's plot axes: wrapped parameter paths, round numbers, labels that do not overlap."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox

MAX_LINE = 16
"""Characters in a line of an axis label."""
MAX_WORD = 3
"""Longer tick labels below an axis are rotated."""


def wrap_path(path: str) -> str:
    """Break a parameter path after its dots, into lines that fit below an axis."""
    lines = [""]
    for piece in path.replace(".", ".\n").split("\n"):
        if lines[-1] and len(lines[-1]) + len(piece) > MAX_LINE:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)


def format_log_scale(axis: Axis, ticks: int) -> None:
    """Set a few round tick labels on a logarithmic axis."""
    if axis.get_scale() == "log":
        low, high = sorted(axis.get_view_interval())
        axis.set_major_locator(FixedLocator(round_ticks(low, high, ticks)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())


def round_ticks(low: float, high: float, most: int) -> list[float]:
    """Choose at most this many powers of ten between positive limits; with 2 and 5 between them if they are few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    powers, finer = (
        [value for decade in decades for first in leading if low <= (value := float(f"{first}e{decade}")) <= high]
        for leading in ((1,), (1, 2, 5))
    )
    if len(finer) < 2:  # less than a third of a decade
        return [float(f"{value:.2g}") for value in np.geomspace(low, high, 5)[1::2]]
    found = finer if len(finer) <= most or len(powers) < 2 else powers
    return found[:: -(-len(found) // most)]


def format_choices(axes: Axes) -> None:
    """Write the choices below an axis without quotes, rotated unless they are short."""
    words = [text.get_text().strip("'") for text in axes.get_xticklabels()]
    if any(word[:1].isalpha() or word[:1] in ("[", "{", "(") for word in words):
        axes.set_xticks(axes.get_xticks(), words, rotation=90 if max(map(len, words)) > MAX_WORD else 0)


def use_integer_ticks(axes: Axes) -> None:
    """Use integer ticks on an axis of trial numbers."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def format_parallel_axes(axes: Axes, names: Sequence[str]) -> None:
    """Label parallel axes in full, and keep numbers and lines legible where they cross.

    Args:
        axes: of Optuna's figure, with a twin for each parameter.
        names: of all axes from left to right.

    """
    axes.set_xticks(axes.get_xticks(), [wrap_path(name) for name in names], rotation=0)
    for lines in axes.collections:
        if isinstance(lines, LineCollection):
            shades = lines.get_cmap()(np.linspace(0, 1, 256))
            seen = shades[np.linalg.norm(1 - shades[:, :3], axis=1) > 0.25]  # white lines are invisible
            lines.set_cmap(ListedColormap(seen))
            lines.set(linewidth=1.0, alpha=0.7)
    for twin in _twins(axes):
        format_log_scale(twin.yaxis, 5)
        for label in twin.get_yticklabels():
            label.set_bbox({"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.6})


def _twins(axes: Axes) -> Iterable[Axes]:
    """Find the axes at the same position."""
    assert axes.figure is not None
    place = axes.get_position()
    return [other for other in axes.figure.axes if other is not axes and _same(other.get_position(), place)]


def _same(one: Bbox, other: Bbox) -> bool:
    return bool(np.allclose(one.extents, other.extents))
