"""Numbers as inputs and as the value to predict."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import pandas as pd
import torch

from stoker.datasets.columns import Column, Dense
from stoker.datasets.fields.field import InputField, TargetField
from stoker.datasets.records import Files, RawColumn
from stoker.job.dataset import Dataset
from stoker.job.signature import NumbersInput, ValueOutput
from stoker.job.task import Kind

CLIP = 8.0
"""Scaled numbers are clipped to this many standard deviations: an outlier must not dominate a prediction."""
SKEWED = 2.0
"""Skewness above which a column of non-negative numbers is scaled by its logarithm."""


@dataclass(frozen=True)
class NumberField(InputField):
    """A number column: missing values become the median; then it is standardised."""

    kind: ClassVar[Kind] = "number"
    shared: ClassVar[str] = "numbers"

    median: float
    mean: float
    scale: float
    logarithm: bool
    """Scaled as log(1 + value): for non-negative numbers with a long tail, such as incomes and counts."""
    flag: bool
    """Whether a second value flags missing numbers."""

    @classmethod
    def fit(cls, name: str, raw: RawColumn, settings: Dataset) -> Self:
        """Fit to the training rows."""
        values = as_numbers(raw)
        known = values[~np.isnan(values)]
        if len(known) == 0:
            return cls(name, 0.0, 0.0, 1.0, False, True)
        logarithm = bool(known.min() >= 0 and _skewness(known) > SKEWED)
        scaled = np.log1p(known) if logarithm else known
        return cls(name, float(np.median(known)), *mean_and_scale(scaled), logarithm, len(known) < len(values))

    def encode(self, raw: RawColumn) -> Column:
        """Return (N, 1) float32 values, or (N, 2) with the flag."""
        values = as_numbers(raw)
        missing = np.isnan(values)
        filled = np.where(missing, self.median, values)
        if self.logarithm:
            filled = np.log1p(np.clip(filled, 0, None))
        scaled = np.clip((filled - self.mean) / self.scale, -CLIP, CLIP)
        columns = [scaled, missing.astype(np.float64)] if self.flag else [scaled]
        return Dense(torch.from_numpy(np.stack(columns, 1)).float())

    @classmethod
    def shape(cls, fields: Sequence[Self]) -> NumbersInput:
        """Return the number of float columns."""
        return NumbersInput(sum(1 + field.flag for field in fields))


@dataclass(frozen=True)
class ValueField(TargetField):
    """A number to predict; targets stay in their own unit."""

    kind: ClassVar[Kind] = "number"

    mean: float
    scale: float

    @classmethod
    def fit(cls, name: str, raw: RawColumn, settings: Dataset) -> Self:
        """Fit mean and deviation to the training rows."""
        return cls(name, *mean_and_scale(as_numbers(raw)))

    def encode(self, raw: RawColumn) -> Column:
        """Return (N,) float32 values."""
        return Dense(torch.from_numpy(as_numbers(raw).astype(np.float32)))

    @property
    def output(self) -> ValueOutput:
        """Return the number with its unit."""
        return ValueOutput(self.name, self.mean, self.scale)


def as_numbers(column: RawColumn) -> np.ndarray:
    """Read a column as float64; values that are not finite numbers become NaN."""
    assert not isinstance(column, Files)
    series = column if isinstance(column, pd.Series) else pd.Series(column)
    values = pd.to_numeric(series, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def mean_and_scale(values: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation; the latter is 1 if all values are equal up to rounding."""
    mean, deviation = float(values.mean()), float(values.std())
    return mean, deviation if deviation > 1e-12 * abs(mean) else 1.0


def _skewness(values: np.ndarray) -> float:
    mean, scale = mean_and_scale(values)
    return float((((values - mean) / scale) ** 3).mean())  # scaled before the cube, in which tiny numbers underflow
