"""How new rows of a table differ from those of the data: column by column, and in how columns go together."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from stoker.datasets.fields.schema import Fields
from stoker.datasets.rows import decoded_rows, encoded_rows
from stoker.tasks.metrics import Metrics
from stoker.tasks.objective import BatchLike
from stoker.tasks.task import Review

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DRAWN_COLUMNS = 24
BINS = 30
VALUES = 20
"""Values of a category that are drawn."""


class RealAndMade:
    """Real rows, and as many new ones; merges with those of other workers."""

    def __init__(self) -> None:
        self._real: list[Tensor] = []
        self._made: list[Tensor] = []

    def update(self, output: Tensor, batch: BatchLike) -> None:
        """Take in (B, numbers + categories) new rows with the batch."""
        self._real.append(encoded_rows(batch.inputs).cpu())
        self._made.append(output.cpu())

    def state(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return all rows."""
        return self._real, self._made

    def merge(self, state: tuple[list[Tensor], list[Tensor]]) -> None:
        """Add another worker's."""
        self._real += state[0]
        self._made += state[1]

    def tables(self, fields: Fields) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return real and new rows in the values of the data."""
        real, made = (decoded_rows(fields, torch.cat(each).numpy()) for each in (self._real, self._made))
        return real, made


class RowDistances(Metrics):
    """Mean distance of the columns' distributions, and mean difference of the correlations between columns.

    The distance of numbers is that of Kolmogorov and Smirnov, that of categories the total variation: both are from 0
    to 1.

    Args:
        fields: of the table.

    """

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self._rows = RealAndMade()

    def update(self, output: Tensor, batch: BatchLike) -> None:
        """Take in a batch."""
        self._rows.update(output, batch)

    def state(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return all rows."""
        return self._rows.state()

    def merge(self, state: tuple[list[Tensor], list[Tensor]]) -> None:
        """Add another worker's."""
        self._rows.merge(state)

    def compute(self) -> dict[str, float]:
        """Return both; NaN correlations of fewer than two rows or columns."""
        real, made = self._rows.tables(self._fields)
        distances = [_distance(real[name], made[name]) for name in real]
        between = [correlations(each) for each in indicators(real, made)]
        apart = ~np.eye(len(between[0]), dtype=bool)
        difference = np.abs(between[0] - between[1])[apart]
        found = float(difference.mean()) if len(real) > 1 and len(difference) else math.nan
        return {"marginals": float(np.mean(distances)), "correlations": found}


class RowReview(Review):
    """The columns of real and of new rows side by side, and the correlations between them.

    Args:
        fields: of the table.

    """

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self._rows = RealAndMade()
        super().__init__(self._rows)

    def update(self, output: Tensor, batch: BatchLike, ids: Tensor) -> None:
        """Take in new rows with the batch."""
        self._rows.update(output, batch)

    def figures(self) -> dict[str, "Figure"]:
        """Draw the distribution of each column, and the correlations between all."""
        real, made = self._rows.tables(self._fields)
        return {"correlations": _correlations(real, made), "marginals": _marginals(real, made)}

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Return nothing: no new row belongs to a real one."""
        return ()


def indicators(*tables: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the numbers of tables, with their mean in place of missing ones, and a column for each category."""
    found = pd.get_dummies(pd.concat(tables, ignore_index=True), dtype=float).astype("float64")
    ends = np.cumsum([0, *map(len, tables)])
    each = [found.iloc[begin:end] for begin, end in pairwise(ends)]
    return [table.fillna(table.mean()).fillna(0.0) for table in each]


def correlations(table: pd.DataFrame) -> np.ndarray:
    """Return the (columns, columns) correlations of numbers; 0 with a column that is constant."""
    columns = table.to_numpy()
    centred = columns - columns.mean(axis=0)
    scale = np.sqrt((centred**2).mean(axis=0))
    scaled = np.divide(centred, scale, out=np.zeros_like(centred), where=scale > 1e-9 * np.abs(columns).max(axis=0))
    found: np.ndarray = scaled.T @ scaled / len(columns)
    return found


def _distance(real: pd.Series, made: pd.Series) -> float:
    """Return the distance of the distributions of a column; a missing cell is a value of its own."""
    shares = [each.isna().mean() for each in (real, made)]
    if not pd.api.types.is_numeric_dtype(real):
        counts = [each.fillna("").value_counts(normalize=True) for each in (real, made)]
        return float(counts[0].sub(counts[1], fill_value=0.0).abs().sum() / 2)
    known = [np.sort(each.dropna().to_numpy(np.float64)) for each in (real, made)]
    places = np.concatenate(known)
    below = [np.searchsorted(each, places, side="right") / max(len(each), 1) for each in known]
    furthest = float(np.abs(below[0] - below[1]).max(initial=0.0))
    return max(furthest, abs(float(shares[0] - shares[1])))


def _marginals(real: pd.DataFrame, made: pd.DataFrame) -> "Figure":
    from matplotlib.figure import Figure

    names = list(real.columns[:DRAWN_COLUMNS])
    across = min(4, len(names))
    down = -(-len(names) // across)
    figure = Figure(figsize=(3.2 * across, 2.4 * down), layout="constrained")
    for place, name in enumerate(names):
        axes = figure.add_subplot(down, across, place + 1)
        axes.set_title(name, fontsize=9)
        _draw_column(axes, {"data": real[name], "new": made[name]})
    figure.axes[0].legend(fontsize=8)
    return figure


def _draw_column(axes: "Axes", columns: Mapping[str, pd.Series]) -> None:
    if pd.api.types.is_numeric_dtype(columns["data"]):
        known = {name: column.dropna().to_numpy(np.float64) for name, column in columns.items()}
        edges = np.histogram_bin_edges(np.concatenate([*known.values()]), BINS)
        for name, values in known.items():
            axes.hist(values, edges.tolist(), alpha=0.6, density=len(values) > 0, label=name)
        return
    shares = {name: column.fillna("missing").value_counts(normalize=True) for name, column in columns.items()}
    shown = list(shares["data"].index[:VALUES])
    places = np.arange(len(shown))
    for shift, (name, share) in zip((-0.2, 0.2), shares.items(), strict=True):
        axes.bar(places + shift, share.reindex(shown, fill_value=0.0), 0.4, label=name)
    axes.set_xticks(places, [str(value)[:12] for value in shown], rotation=30, fontsize=7)


def _correlations(real: pd.DataFrame, made: pd.DataFrame) -> "Figure":
    """Draw the correlations of numbers and of each value of a category."""
    from matplotlib.figure import Figure

    tables = indicators(real, made)
    names = list(tables[0].columns)
    figure = Figure(figsize=(12, 5.5), layout="constrained")
    for place, (title, table) in enumerate(zip((f"{len(real)} samples", f"{len(made)} new rows"), tables, strict=True)):
        axes = figure.add_subplot(1, 2, place + 1)
        drawn = axes.imshow(correlations(table), cmap="RdBu_r", vmin=-1, vmax=1)
        axes.set_title(title)
        if len(names) <= DRAWN_COLUMNS:
            axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
            axes.set_yticks(range(len(names)), names, fontsize=7)
    figure.colorbar(drawn, ax=figure.axes, label="correlation")
    return figure
