"""Numbers as inputs and as the value to predict."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import pandas as pd
import torch

from stoker.datasets.columns import Column, Dense
from stoker.datasets.fields.category import as_text
from stoker.datasets.fields.field import InputField, TargetField
from stoker.datasets.fields.written import require_notation
from stoker.datasets.records import Files, RawColumn
from stoker.datasets.values.numerals import DecimalMark, is_missing, notation, read_number, read_numbers
from stoker.datasets.values.quantiles import decimals_of, from_normal_scores, normal_scores, quantiles_of
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset
from stoker.job.signature import NumbersInput, ValueOutput
from stoker.job.task import Kind

CLIP = 8.0
"""Scaled numbers are clipped to this many standard deviations: an outlier must not dominate a prediction."""
LARGEST = 1e100
"""Numbers beyond it are mistakes: the square of such a number may be infinite."""
SHOWN = 3
SKEWED = 2.0
"""Skewness above which a column of non-negative numbers is scaled by its logarithm."""


@dataclass(frozen=True)
class NumbersField(InputField):
    """A column that becomes float values; those of all such columns are one tensor."""

    shared: ClassVar[str] = "numbers"

    @property
    @abstractmethod
    def width(self) -> int:
        """Return how many values a row of the column has."""

    @classmethod
    def shape(cls, fields: Sequence[Self]) -> NumbersInput:
        """Return the number of float columns."""
        return NumbersInput(sum(field.width for field in fields))


@dataclass(frozen=True)
class NumberField(NumbersField):
    """A number column: missing values become the median; then it is standardised."""

    kind: ClassVar[Kind] = "number"

    median: float
    mean: float
    scale: float
    logarithm: bool
    """Scaled as log(1 + value): for non-negative numbers with a long tail, such as incomes and counts."""
    flag: bool
    """Whether a second value flags missing numbers."""
    decimal: DecimalMark = "."
    """Of numbers that are written as text."""
    quantiles: tuple[float, ...] = ()
    """Of the known values, where they are scaled to their normal scores."""
    decimals: int | None = None
    """Of the known values; None for more than are written by hand."""

    @property
    def width(self) -> int:
        """Return 2 with the flag, otherwise 1."""
        return 1 + self.flag

    @classmethod
    def fit(cls, name: str, raw: RawColumn, settings: Dataset) -> Self:
        """Fit to the training rows."""
        decimal = decimal_mark(raw)
        values = as_numbers(raw, decimal)
        known = values[~np.isnan(values)]
        if len(known) == 0:
            return cls(name, 0.0, 0.0, 1.0, False, True)
        flag, middle, decimals = len(known) < len(values), float(np.median(known)), decimals_of(known)
        if settings.columns.scaling == "quantile":
            quantiles = quantiles_of(known)
            scores = mean_and_scale(normal_scores(known, quantiles))
            return cls(name, middle, *scores, False, flag, decimal, quantiles, decimals)
        logarithm = bool(known.min() >= 0 and _skewness(known) > SKEWED)
        scaled = np.log1p(known) if logarithm else known
        return cls(name, middle, *mean_and_scale(scaled), logarithm, flag, decimal, (), decimals)

    def unread(self, raw: RawColumn) -> list[str | None]:
        """Return the cells that are neither numbers nor marks of missing ones, as text; None for the others."""
        if isinstance(raw, pd.Series) and pd.api.types.is_numeric_dtype(raw):
            return [None] * len(raw)
        cells = zip(as_text(raw), np.isnan(as_numbers(raw, self.decimal)), strict=True)
        return [text if lost and text and text.strip() and not is_missing(text) else None for text, lost in cells]

    def encode(self, raw: RawColumn) -> Column:
        """Return (N, 1) float32 values, or (N, 2) with the flag."""
        values = _read(self.name, raw, self.decimal)
        missing = np.isnan(values)
        filled = np.where(missing, self.median, values)
        if self.quantiles:
            filled = normal_scores(filled, self.quantiles)
        elif self.logarithm:
            filled = np.log1p(np.clip(filled, 0, None))
        scaled = np.clip((filled - self.mean) / self.scale, -CLIP, CLIP)
        columns = [scaled, missing.astype(np.float64)] if self.flag else [scaled]
        return Dense(torch.from_numpy(np.stack(columns, 1)).float())

    def decode(self, encoded: np.ndarray) -> pd.Series:
        """Return the (N,) numbers of (N, width) values, with the decimals of the data; missing ones are missing."""
        values = encoded[:, 0].astype(np.float64) * self.scale + self.mean
        if self.quantiles:
            values = from_normal_scores(values, self.quantiles)
        elif self.logarithm:
            values = np.expm1(values)
        if self.decimals is not None:
            values = np.round(values, self.decimals) + 0.0  # without a minus before zero
        numbers = pd.Series(values).mask(pd.Series(encoded[:, -1] > 1 / 2 if self.flag else False, range(len(values))))
        return numbers.astype("Int64") if self.decimals == 0 else numbers

    def notes(self, raw: RawColumn, parts: np.ndarray) -> Iterator[str]:
        """Yield how numbers that are written as text were read."""
        yield from number_notes(self.name, raw)


@dataclass(frozen=True)
class ValueField(TargetField):
    """A number to predict; targets stay in their own unit."""

    kind: ClassVar[Kind] = "number"

    mean: float
    scale: float
    decimal: DecimalMark = "."
    """Of numbers that are written as text."""

    @classmethod
    def fit(cls, name: str, raw: RawColumn, settings: Dataset) -> Self:
        """Fit mean and deviation to the training rows."""
        decimal = decimal_mark(raw)
        return cls(name, *mean_and_scale(as_numbers(raw, decimal)), decimal)

    def encode(self, raw: RawColumn) -> Column:
        """Return (N,) float32 values."""
        return Dense(torch.from_numpy(_read(self.name, raw, self.decimal).astype(np.float32)))

    def notes(self, raw: RawColumn, parts: np.ndarray) -> Iterator[str]:
        """Yield how numbers that are written as text were read."""
        yield from number_notes(self.name, raw)

    @property
    def output(self) -> ValueOutput:
        """Return the number with its unit."""
        return ValueOutput(self.name, self.mean, self.scale)


def as_numbers(column: RawColumn, decimal: DecimalMark | None = None) -> np.ndarray:
    """Read a column as (N,) float64; values that are not finite numbers become NaN.

    Args:
        column: numbers, or texts with numbers.
        decimal: mark of numbers that are written as text; None takes the one that fits.

    """
    assert not isinstance(column, Files)
    series = column if isinstance(column, pd.Series) else pd.Series(column)
    if pd.api.types.is_numeric_dtype(series):
        values = series.to_numpy(np.float64, na_value=np.nan)
    else:
        values = read_numbers(series, decimal or decimal_mark(series))
    return np.where(np.isfinite(values), values, np.nan)


def check_range(name: str, column: RawColumn, path: str) -> None:
    """Check that statistics of a column of numbers can be computed.

    Args:
        name: of the column.
        column: its numbers.
        path: of the key in the job that a problem is reported at.

    Raises:
        JobError: a number is beyond LARGEST.

    """
    beyond = np.flatnonzero(np.abs(as_numbers(column)) > LARGEST)
    if len(beyond):
        row = int(beyond[0])
        message = f"{pd.Series(column).iloc[row]} in column '{name}', row {row + 1}, is beyond {LARGEST:g}"
        raise JobError([Problem(path, f"{message}: correct it, or list the column in dataset.columns.drop")])


def decimal_mark(column: RawColumn) -> DecimalMark:
    """Return the decimal mark of numbers that are written as text; a point where there are none."""
    found = notation(column) if isinstance(column, pd.Series) else None
    return found.decimal if found else "."


def number_notes(name: str, column: RawColumn) -> Iterator[str]:
    """Yield how the numbers of a column of texts were read."""
    found = notation(column) if isinstance(column, pd.Series) else None
    if found and found.example is not None:
        value = read_number(found.example, found.decimal)
        yield f"column '{name}' holds numbers as text: '{found.example}' is read as {value:.10g}"
    if found and found.others:
        missing = int(pd.Series(column).isin(found.others).sum())
        shown = ", ".join(f"'{text}'" for text in found.others[:SHOWN]) + (", ..." if len(found.others) > SHOWN else "")
        yield f"column '{name}': {missing} cells count as missing, since they are no numbers: {shown}"


def mean_and_scale(values: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation; the latter is 1 if all values are equal up to rounding."""
    mean, deviation = float(values.mean()), float(values.std())
    return mean, deviation if deviation > 1e-12 * abs(mean) else 1.0


def _read(name: str, column: RawColumn, decimal: DecimalMark) -> np.ndarray:
    """Return the (N,) numbers of a column whose notation is known."""
    values = as_numbers(column, decimal)
    mark = "point" if decimal == "." else "comma"
    other: DecimalMark = "," if decimal == "." else "."

    def reads_otherwise(cells: pd.Series) -> bool:
        return bool(np.isfinite(read_numbers(cells, other)).mean() > 1 / 2)

    require_notation(name, column, np.isnan(values), f"numbers with a decimal {mark}", reads_otherwise)
    return values


def _skewness(values: np.ndarray) -> float:
    mean, scale = mean_and_scale(values)
    return float((((values - mean) / scale) ** 3).mean())  # scaled before the cube, in which tiny numbers underflow
