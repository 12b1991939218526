"""Dates and times as inputs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import pandas as pd
import torch

from stoker.datasets.columns import Column, Dense
from stoker.datasets.fields.number import CLIP, NumbersField, as_numbers, mean_and_scale
from stoker.datasets.fields.written import require_notation
from stoker.datasets.records import RawColumn
from stoker.datasets.values.times import ISO, as_times, time_format
from stoker.job.dataset import Dataset
from stoker.job.task import Kind

WIDTHS = {"year": 1, "month": 2, "weekday": 7, "hour": 2, "elapsed": 1}
"""How many numbers each feature of a time takes."""


@dataclass(frozen=True)
class TimeField(NumbersField):
    """A column of dates or times, in up to five features: those that do not vary in the training part are left out.

    Year and time since the first are standardised, month and hour are points of a circle, weekdays are one of seven.
    """

    kind: ClassVar[Kind] = "time"

    written: str
    """The format of texts: ISO8601, or as for strftime."""
    features: tuple[str, ...]
    """Keys of WIDTHS."""
    year: tuple[float, float]
    """Mean and scale."""
    elapsed: tuple[float, float]
    """Mean and scale of the seconds since 1970."""
    flag: bool
    """Whether a last value flags missing times."""

    @classmethod
    def fit(cls, name: str, raw: RawColumn, settings: Dataset) -> Self:
        """Fit to the training rows."""
        written = time_format(pd.Series(raw), share=1 / 2) or ISO
        times = _read(name, raw, written)
        known = times.dropna()
        if len(known) == 0:
            return cls(name, written, (), (0.0, 1.0), (0.0, 1.0), True)
        found = _components(known)
        varying = tuple(feature for feature in WIDTHS if found[feature].min() != found[feature].max())
        year, elapsed = mean_and_scale(found["year"]), mean_and_scale(found["elapsed"])
        return cls(name, written, varying, year, elapsed, len(known) < len(times))

    @property
    def width(self) -> int:
        """Return the number of float columns."""
        return sum(WIDTHS[feature] for feature in self.features) + self.flag

    def encode(self, raw: RawColumn) -> Column:
        """Return (N, width) float32 values; those of a missing time are 0, but for the flag."""
        times = _read(self.name, raw, self.written)
        missing = times.isna().to_numpy()
        found = _components(times.fillna(pd.Timestamp(0)))
        columns = [column for feature in self.features for column in self._encoded(feature, found[feature])]
        values = np.stack(columns, 1) if columns else np.zeros((len(times), 0))
        values[missing] = 0
        if self.flag:
            values = np.concatenate([values, missing[:, None]], 1)
        return Dense(torch.from_numpy(values).float())

    def _encoded(self, feature: str, values: np.ndarray) -> list[np.ndarray]:
        match feature:
            case "month":
                return _circle((values - 1) / 12)
            case "hour":
                return _circle(values / 24)
            case "weekday":
                return [(values == day).astype(float) for day in range(7)]
            case _:
                mean, scale = self.year if feature == "year" else self.elapsed
                return [np.clip((values - mean) / scale, -CLIP, CLIP)]

    def notes(self, raw: RawColumn, parts: np.ndarray) -> Iterator[str]:
        """Yield what is learnt from the times."""
        learnt = ", ".join("time since the first" if each == "elapsed" else each for each in self.features)
        format_ = "" if self.written == ISO else f" written as {self.written}"
        yield f"column '{self.name}' holds times{format_}: learnt from as {learnt or 'missing or not'}"


def _read(name: str, column: RawColumn, written: str) -> pd.Series:
    """Return the (N,) times of a column whose format is known."""
    times = as_times(column, written)
    format_ = "ISO 8601" if written == ISO else written
    require_notation(name, column, times.isna().to_numpy(), f"times written as {format_}", _reads_otherwise)
    return times


def _reads_otherwise(cells: pd.Series) -> bool:
    """Return whether most of some cells are times in some format, or numbers."""
    return time_format(cells, share=1 / 2) is not None or bool(np.isfinite(as_numbers(cells)).mean() > 1 / 2)


def _components(times: pd.Series) -> dict[str, np.ndarray]:
    """Return the features of (N,) times, each (N,) float64."""
    clock = times.dt
    hour = clock.hour + clock.minute / 60
    seconds = times.to_numpy("datetime64[us]").astype(np.int64) / 1e6
    parts = {"year": clock.year, "month": clock.month, "weekday": clock.day_of_week, "hour": hour}
    return {**{name: part.to_numpy(np.float64) for name, part in parts.items()}, "elapsed": seconds}


def _circle(turns: np.ndarray) -> list[np.ndarray]:
    return [np.sin(2 * np.pi * turns), np.cos(2 * np.pi * turns)]
