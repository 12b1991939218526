"""Times as numbers, timestamps or written dates."""

import warnings
from itertools import islice

import numpy as np
import pandas as pd
from pandas.tseries.api import guess_datetime_format

from stoker.datasets.fields.category import as_text
from stoker.datasets.fields.number import as_numbers
from stoker.datasets.records import Files, RawColumn
from stoker.datasets.values.numerals import ALMOST_ALL, INSPECTED_CELLS, is_missing
from stoker.errors import JobError, Problem

ISO = "ISO8601"
"""Written as ISO 8601, to the day or any part of a second, with or without a time zone."""
GUESSES = 20
"""Texts whose formats are tried for the whole column."""
LONGEST = 100
"""Characters of a written time; to look for one in a text of a million words takes minutes."""


def time_format(column: pd.Series, share: float = ALMOST_ALL) -> str | None:
    """Return ISO or the strftime format of a column of dates and times; None if it holds other values.

    Where the day may as well be the month, it is the day if dots separate them, and the month otherwise.

    Args:
        column: of any type.
        share: of the cells that must have the format, marks of missing values aside.

    """
    if holds_timestamps(column):
        return ISO
    if pd.api.types.is_numeric_dtype(column) or isinstance(column.dtype, pd.CategoricalDtype):
        return None
    formats = _formats(_written(column.dropna().head(INSPECTED_CELLS)))
    if not formats:  # most columns of texts are rejected here
        return None
    known = _written(column.dropna().drop_duplicates())
    best = None
    for each in formats:
        found = float(as_times(known, each).notna().mean())
        if found >= share and (best is None or found > share):
            best, share = each, found
    return best


def _written(known: pd.Series) -> pd.Series:
    """Return the texts that may be dates."""
    return known[[isinstance(value, str) and not is_missing(value) for value in known]]


def _formats(known: pd.Series) -> list[str]:
    """Return the formats that one of a few texts has, the likeliest first."""
    found: dict[str, None] = {}
    for text in islice(known, 0, None, max(len(known) // GUESSES, 1)):
        if len(text) > LONGEST:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that a text is not written day, or month, first
            guesses = [guess_datetime_format(text), guess_datetime_format(text, dayfirst=True)]
        for each in reversed(guesses) if "." in text else guesses:
            if each and "%Y" in each and each != "%Y":
                found[ISO if each.startswith("%Y-%m") else each] = None
    return [each for each in found if not each.startswith("%Y-%d")]


def holds_timestamps(column: pd.Series) -> bool:
    """Return whether a column has timestamps or dates as values, not as texts."""
    known = column.dropna().head(1) if pd.api.types.is_object_dtype(column) else column
    kind = pd.api.types.infer_dtype(known, skipna=True) if len(known) else ""
    return kind in ("datetime64", "datetime", "date")


def as_times(column: RawColumn, written: str) -> pd.Series:
    """Read a column as (N,) timestamps in UTC; NaT for what is no time.

    Args:
        column: timestamps, or texts; those without a time zone are taken as UTC.
        written: the format of the texts, as `time_format` returns it.

    """
    assert not isinstance(column, Files)
    series = pd.Series(column)
    if holds_timestamps(series):
        times = pd.to_datetime(series, utc=True, errors="coerce")
    else:
        times = pd.to_datetime(pd.Series(as_text(series), dtype=object), format=written, utc=True, errors="coerce")
    return pd.Series(times).dt.tz_localize(None)


def read_times(column: RawColumn, name: str) -> np.ndarray:
    """Read a column of numbers, or of dates and times, to order rows by.

    Returns:
        (N,) float64 or int64, larger for a later time.

    Raises:
        JobError: a row has no time, or one that is neither a number nor a date.

    """
    words = as_text(column)
    numbers = np.where(pd.isna(words), np.nan, as_numbers(column))
    written = time_format(pd.Series(column)) or ISO
    dates = as_times(column, written)
    undated = dates.isna().to_numpy()
    are_dates = undated.sum() < np.isnan(numbers).sum()
    unknown = undated if are_dates else np.isnan(numbers)
    if unknown.any():
        first = int(np.flatnonzero(unknown)[0])
        date = "an ISO date such as 2026-05-31" if written == ISO else f"a date written as {written}"
        kind = date if are_dates else f"a number or {date}"
        found = "there is no time" if words[first] is None else f"'{words[first]}' is not {kind}"
        cure = "correct it or remove the row"
        raise JobError([Problem("dataset.split.time", f"row {first + 1}, column '{name}': {found}; {cure}")])
    return dates.astype("int64").to_numpy() if are_dates else numbers
