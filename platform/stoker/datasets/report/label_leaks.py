"""Finds columns that predict the label almost perfectly, and so may not be known when the model is used."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from stoker.datasets.fields.category import as_text
from stoker.datasets.fields.inference import Roles
from stoker.datasets.fields.number import as_numbers
from stoker.datasets.records import Records
from stoker.job.task import Kind

MOST_ROWS = 20_000
"""Rows that are looked at, from all over the training part."""
FEWEST_ROWS = 50
ALMOST_PERFECT = 0.999
"""Share of right classes, or of the variance of a number that is explained."""
MOST_COLUMNS = 3
"""Columns that are added up."""
MOST_MISSING = 0.1
"""Share of missing values from which a number is not added up."""
ROWS_PER_VALUE = 5
"""Average number of rows with the same value, from which the values of a category may say something about others."""


def label_leaks(records: Records, roles: Roles, target: Kind, parts: np.ndarray) -> Iterator[str]:
    """Yield a warning about one column, or the sum of a few numbers, that predicts the label almost perfectly.

    Args:
        records: of a table.
        roles: its columns.
        target: kind of the label.
        parts: (N,) part of each row.

    """
    train = np.flatnonzero(parts == "train")
    label = records.columns.get(roles.target)
    if len(train) < FEWEST_ROWS or not isinstance(label, pd.Series) or target not in ("number", "category"):
        return
    rows = train[np.unique(np.linspace(0, len(train) - 1, min(MOST_ROWS, len(train))).astype(int))]
    columns = {name: records.columns[name] for name in roles.inputs}
    few = {name: column.iloc[rows] for name, column in columns.items() if isinstance(column, pd.Series)}
    numbers = {name: as_numbers(column) for name, column in few.items() if roles.inputs[name] == "number"}
    if target == "number":
        found = _adding_up(numbers, as_numbers(label.iloc[rows]))
    else:
        classes = pd.factorize(as_text(label.iloc[rows]))[0]
        categories = (name for name, kind in roles.inputs.items() if kind == "category")
        by_value = [name for name in categories if _tells(pd.factorize(as_text(few[name]))[0], classes)]
        found = [*by_value, *(name for name, values in numbers.items() if _separates(values, classes))][:MOST_COLUMNS]
    named = " and ".join(f"'{name}'" for name in found)
    cure = "is not known when the model is used, list it in dataset.columns.drop"
    if len(found) == 1:
        yield f"column {named} predicts the label '{roles.target}' almost perfectly; if it {cure}"
    elif found:
        how = "together" if target == "number" else "each"
        yield f"columns {named} {how} predict the label '{roles.target}' almost perfectly; if one of them {cure}"


def _adding_up(numbers: dict[str, np.ndarray], label: np.ndarray) -> list[str]:
    """Return the fewest columns of which a weighted sum is almost the label; empty if none is."""
    numbers = {name: values for name, values in numbers.items() if np.isnan(values).mean() < MOST_MISSING}
    known = ~np.isnan(label)
    for values in numbers.values():
        known &= ~np.isnan(values)
    if known.sum() < FEWEST_ROWS or np.ptp(label[known]) == 0:
        return []
    wanted = label[known] - label[known].mean()
    centred = {name: values[known] - values[known].mean() for name, values in numbers.items()}
    unit = {name: values / np.linalg.norm(values) for name, values in centred.items() if np.ptp(values) > 0}
    chosen: list[str] = []
    left = wanted
    while len(chosen) < MOST_COLUMNS and len(chosen) < len(unit):
        others = [name for name in unit if name not in chosen]
        chosen.append(max(others, key=lambda name: abs(float(unit[name] @ left))))
        basis = np.stack([unit[name] for name in chosen], 1)
        left = wanted - basis @ np.linalg.lstsq(basis, wanted, rcond=None)[0]
        if float(left @ left) <= (1 - ALMOST_PERFECT) * float(wanted @ wanted):
            return chosen
    return []


def _tells(values: np.ndarray, classes: np.ndarray) -> bool:
    """Return whether the most frequent class of each value is almost always the right one."""
    table = pd.crosstab(values, classes).to_numpy()
    wrong = len(values) - table.max(1).sum()
    return len(values) >= ROWS_PER_VALUE * len(table) and bool(wrong <= _exceptions(classes))


def _separates(values: np.ndarray, classes: np.ndarray) -> bool:
    """Return whether the classes are intervals of a number, almost without exception."""
    known = ~np.isnan(values)
    if known.sum() < FEWEST_ROWS or len(np.unique(classes[known])) < len(np.unique(classes)):
        return False
    in_order = classes[known][np.argsort(values[known], kind="stable")]
    changes = int((in_order[1:] != in_order[:-1]).sum())
    return bool(changes <= len(np.unique(classes)) - 1 + 2 * _exceptions(classes[known]))


def _exceptions(classes: np.ndarray) -> float:
    """Return how many rows may have another class: few of those that are not of the largest, which anybody guesses."""
    return (1 - ALMOST_PERFECT) * float(len(classes) - np.bincount(classes).max())
