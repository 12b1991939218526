"""Raw labels: classes or numbers, checked before training."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from stoker.datasets.fields.category import ClassField, as_text, joined_spellings, sorted_classes, spelling_key
from stoker.datasets.fields.number import as_numbers, check_range
from stoker.datasets.records import Records
from stoker.datasets.values.numerals import DecimalMark
from stoker.errors import JobError, Problem
from stoker.job.task import Kind

MAX_CLASSES = 10_000
FEW_NUMBERS = 20
"""Whole numbers of which there are at most this many different ones are classes."""
SHOWN = 3
MIN_SAMPLES = 2
"""Average number of samples per class, with more than a hundred classes; with fewer the label is a number or name."""


@dataclass(frozen=True)
class Labels:
    """The label of each sample."""

    values: np.ndarray
    """(N,) class names, or float64 numbers; zeros for other kinds of labels."""
    classes: tuple[str, ...] | None
    """All class names in order; None if there are none."""
    odd: np.ndarray | None = None
    """(N,) which samples are not learnt from but found; None where all are alike."""
    groups: np.ndarray | None = None
    """(N,) samples of one value stay in one part of the split, such as captions of an image; None for no groups."""

    def counts(self, rows: np.ndarray) -> dict[str, int]:
        """Count the samples of each class among some rows; under "" if there are no classes."""
        if self.classes is None:
            return {"": len(self.values[rows])}
        counted = Counter(self.values[rows])
        return {name: counted[name] for name in self.classes}


def with_joined_spellings(records: Records, name: str) -> Records:
    """Return the records with labels that differ by case or blanks only replaced by the most frequent of them."""
    labels = pd.Series(joined_spellings(as_text(records.columns[name])), dtype=object)
    return replace(records, columns={**records.columns, name: labels})


def label_notes(records: Records, name: str, kind: Kind) -> Iterator[str]:
    """Yield notes on the classes of a table: several spellings, or numbers that may be a quantity."""
    column = records.columns.get(name)
    if kind != "category" or not isinstance(column, pd.Series):
        return
    spellings: dict[str, list[str]] = {}
    for label in pd.unique(as_text(column.dropna())):
        spellings.setdefault(spelling_key(label), []).append(f"'{label}'")
    several = [", ".join(each) for each in spellings.values() if len(each) > 1]
    if several:
        more = f" and {len(several) - SHOWN} more" if len(several) > SHOWN else ""
        cure = "dataset.columns.clean: true makes them one class"
        yield f"labels differ by case or blanks only ({'; '.join(several[:SHOWN])}{more}); {cure}"
    if records.is_table and is_quantity(column):
        found = f"the label '{name}' has {column.nunique()} different numbers as classes"
        yield f"{found}; if it is a quantity, use task: tabular-regression"


def is_quantity(column: pd.Series) -> bool:
    """Return whether a column seems to hold a quantity: numbers that are not whole, or many different ones."""
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return False
    values = pd.unique(as_numbers(column.dropna()))
    return len(values) > FEW_NUMBERS or bool((values % 1 != 0).any())


def read_labels(records: Records, name: str, kind: Kind) -> Labels:
    """Read and check the labels.

    Args:
        records: all samples.
        name: the column; empty if there is none.
        kind: of the column.

    Raises:
        JobError: a label or a text to learn is missing, or all labels are equal.

    """
    if name and kind == "text":
        label_values(records, name, kind)
    if not name or kind not in ("number", "category"):
        return Labels(np.zeros(len(records)), None)
    values = label_values(records, name, kind)
    if kind == "number":
        check_range(name, records.columns[name], "dataset.columns.label")
        if len(np.unique(values)) == 1:
            raise _problem(records, f"every row has the value {values[0]:g}: there is nothing to learn")
        return Labels(values, None)
    classes = sorted_classes(values)
    if len(classes) == 1:
        raise _problem(records, f"only one class, '{classes[0]}': there is nothing to distinguish")
    if len(classes) > MAX_CLASSES or len(classes) > max(100, len(values) / MIN_SAMPLES):
        cure = "; is it a number (tabular-regression)?" if records.is_table else ""
        raise _problem(records, f"{len(classes)} classes in {len(values)} samples{cure}")
    return Labels(values, classes)


def check_known(records: Records, field: ClassField) -> None:
    """Check the labels of new data against the classes that a model was trained on.

    Raises:
        JobError: a label is missing, or a class is new.

    """
    labels = field.labels(label_values(records, field.name, "category"))
    if unknown := sorted(set(labels) - set(field.classes)):
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise JobError([Problem("", f"classes the model does not know: {', '.join(unknown[:5])}{more}")])


def label_values(records: Records, name: str, kind: Kind, decimal: DecimalMark | None = None) -> np.ndarray:
    """Return (N,) class names, texts or float64 numbers, written with a decimal mark or, for None, the one that fits.

    Raises:
        JobError: one is missing, or not of this kind.

    """
    column = records.columns[name]
    values = as_numbers(column, decimal) if kind == "number" else as_text(column)
    missing = np.flatnonzero(pd.isna(values))
    if len(missing) == 0:
        return values
    first = int(missing[0])
    found = pd.Series(column).iloc[first]
    if not pd.isna(found):
        message = f"'{found}' in column '{name}', row {first + 1}, is not a finite number"
        raise _problem(records, message)
    rows = f"{len(missing)} of {len(values)} rows have no value in column '{name}'"
    raise _problem(records, f"{rows} (first: row {first + 1}); remove them")


def _problem(records: Records, message: str) -> JobError:
    path = "dataset.columns.label" if records.is_table else "dataset.source"
    return JobError([Problem(path, message)])
