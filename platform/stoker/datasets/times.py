"""Times as numbers or ISO dates, for a split by time."""

import numpy as np
import pandas as pd

from stoker.datasets.fields.category import as_text
from stoker.datasets.fields.number import as_numbers
from stoker.datasets.records import RawColumn
from stoker.errors import JobError, Problem


def read_times(column: RawColumn, name: str) -> np.ndarray:
    """Read a column of numbers or of ISO 8601 dates; dates without a time zone are taken as UTC.

    Returns:
        (N,) float64 or int64, larger for a later time.

    Raises:
        JobError: a row has no time, or one that is neither a number nor a date.

    """
    words = as_text(column)
    numbers = np.where(pd.isna(words), np.nan, as_numbers(column))  # as_numbers turns a missing date into a number
    dates = pd.to_datetime(pd.Series(words, dtype=object), format="ISO8601", utc=True, errors="coerce")
    undated = dates.isna().to_numpy()
    are_dates = undated.sum() < np.isnan(numbers).sum()
    unknown = undated if are_dates else np.isnan(numbers)
    if unknown.any():
        first = int(np.flatnonzero(unknown)[0])
        kind = "an ISO date such as 2026-05-31" if are_dates else "a number or an ISO date such as 2026-05-31"
        found = "there is no time" if words[first] is None else f"'{words[first]}' is not {kind}"
        cure = "correct it or remove the row"
        raise JobError([Problem("dataset.split.time", f"row {first + 1}, column '{name}': {found}; {cure}")])
    return dates.astype("int64").to_numpy() if are_dates else numbers
