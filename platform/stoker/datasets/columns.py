"""What the columns of a table are good for: inferred types, and columns that cannot help."""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stoker.errors import JobError, Problem
from stoker.job.dataset import Columns

MOST_CATEGORIES = 100
FEWEST_REPEATS = 2.0
"""Average number of rows a value needs; text that repeats less says nothing about new rows."""
_ID = re.compile(r"(?i:(\A|[\W_])id\Z)|[a-z]I[dD]\Z")
"""The name of a column that names rows: id, user_id, UserId; not paid."""


@dataclass(frozen=True)
class Features:
    """The columns to predict from, by type, and why others are left out."""

    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    notes: tuple[str, ...]


def infer_features(frame: pd.DataFrame, label: str, columns: Columns) -> Features:
    """Sort the columns into numbers and categories.

    Named features are kept whatever they hold. Of the others, columns with one value, row numbers, and text that hardly
    repeats (names, tickets) are left out, each with a note.
    """
    aside = {label, columns.weight, columns.group, *columns.drop}
    candidates = columns.features or tuple(name for name in frame.columns if name not in aside)
    numbers, categories, notes = [], [], []
    for name in candidates:
        declared = columns.types.get(name)
        reason = None if declared or columns.features else _useless(frame[name], name)
        if reason:
            notes.append(f"column '{name}' is left out: {reason}")
        elif (declared or inferred_type(frame[name])) == "number":
            numbers.append(name)
        else:
            categories.append(name)
    return Features(tuple(numbers), tuple(categories), tuple(notes))


def inferred_type(column: pd.Series) -> str:
    """Tell whether a column holds numbers or categories."""
    return "number" if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column) else "category"


def as_numbers(column: pd.Series) -> np.ndarray:
    """Read a column as float64; what is not a finite number is missing (NaN)."""
    values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def as_text(column: pd.Series) -> np.ndarray:
    """Read a column as text; missing values are None.

    A whole number is written without `.0`: a missing value elsewhere in the column must not rename a category.
    """
    text = np.empty(len(column), object)
    text[:] = [_text(value) for value in column]
    text[column.isna().to_numpy()] = None
    return text


def as_weights(column: pd.Series, name: str) -> np.ndarray:
    """Read a column as float32 weights.

    Raises:
        JobError: a weight is missing or below 0.

    """
    values = as_numbers(column)
    bad = np.flatnonzero(~(values >= 0))
    if len(bad):
        first = int(bad[0])
        message = f"'{column.iloc[first]}' in column '{name}', row {first + 1}, is not a weight of 0 or more"
        raise JobError([Problem("dataset.columns.weight", message)])
    return values.astype(np.float32)


def _text(value: object) -> str:
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _useless(column: pd.Series, name: str) -> str | None:
    known = column.dropna()
    distinct = known.nunique()
    if distinct == 0:
        return "it is empty"
    if distinct == 1 and len(known) == len(column):
        return "every row has the same value"
    if inferred_type(column) == "number":
        return _row_number(known, name)
    if distinct > MOST_CATEGORIES or len(known) / distinct < FEWEST_REPEATS:
        return f"{distinct} different texts in {len(known)} rows; name it in dataset.columns.types to keep it"
    return None


def _row_number(known: pd.Series, name: str) -> str | None:
    """Recognise integers that go up by one from row to row, or are unique below a name such as `id`."""
    whole = pd.api.types.is_integer_dtype(known)
    if whole and len(known) > 2 and (known.diff().iloc[1:] == 1).all():
        return "it numbers the rows"
    if whole and known.is_unique and len(known) > 2 and _ID.search(name):
        return "it names the rows"
    return None
