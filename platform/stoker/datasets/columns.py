"""What the columns of a table are good for: inferred types, and columns that cannot help."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from stoker.spec.dataset import Columns

MOST_CATEGORIES = 100
FEWEST_REPEATS = 2.0
"""Average number of rows a value needs; text that repeats less says nothing about new rows."""


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
    """Read a column as text; missing values are None. A whole number keeps no `.0`, whatever a missing value made of it."""
    missing = column.isna().to_numpy()
    if pd.api.types.is_float_dtype(column) and (column.dropna() % 1 == 0).all():
        column = column.astype("Int64")
    text = column.astype(str).to_numpy(object)
    text[missing] = None
    return text


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
    """Integers that go up by one from row to row number the rows."""
    whole = pd.api.types.is_integer_dtype(known)
    if whole and len(known) > 2 and (known.diff().iloc[1:] == 1).all():
        return "it numbers the rows"
    if whole and known.is_unique and len(known) > 2 and name.lower().endswith("id"):
        return "it names the rows"
    return None
