"""Reads columns whose cells hold a list of texts: JSON, a list in memory, or a text to split."""

import json
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from stoker.datasets.fields.category import as_text
from stoker.datasets.records import RawColumn


def read_lists(raw: RawColumn, split: Callable[[str], list[str]]) -> list[list[str]]:
    """Return the list of each cell; a missing value is an empty one, and a text that is no list of JSON is split."""
    return list(_lists(raw, split))


def _lists(raw: RawColumn, split: Callable[[str], list[str]]) -> Iterator[list[str]]:
    assert isinstance(raw, pd.Series)
    for value, text in zip(raw, as_text(raw) if len(raw) else (), strict=True):
        if isinstance(value, (list, tuple, np.ndarray)):
            found = _texts(list(value))
        else:
            found = None if text is None else parsed(text)
        yield split(text or "") if found is None else found


def parsed(text: str) -> list[str] | None:
    """Return the values of a JSON list without lists in it; None for any other text."""
    if not text.lstrip().startswith("["):
        return None
    try:
        values = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return None
    return _texts(values)


def _texts(values: list[object]) -> list[str] | None:
    if any(isinstance(value, (list, dict, tuple, np.ndarray)) for value in values):
        return None
    return ["" if value is None else str(value) for value in values]


def row_of(raw: RawColumn, place: int) -> int:
    """Return the number of a row in its table, counted from 1."""
    assert isinstance(raw, pd.Series)
    return int(raw.index[place]) + 1


def holds_lists(column: pd.Series, rows: int) -> bool:
    """Return whether the first values that are there are all lists."""
    values = column.dropna().head(rows)
    return len(values) > 0 and all(
        isinstance(value, (list, tuple, np.ndarray)) or (isinstance(value, str) and parsed(value) is not None)
        for value in values
    )
