"""Raw labels: classes or numbers, checked before training."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stoker.datasets.fields.category import as_text, sorted_classes
from stoker.datasets.fields.number import as_numbers
from stoker.datasets.records import Records
from stoker.errors import JobError, Problem
from stoker.job.task import Kind

MAX_CLASSES = 10_000
MIN_SAMPLES = 2
"""Average number of samples per class, with more than a hundred classes; with fewer the label is a number or name."""


@dataclass(frozen=True)
class Labels:
    """The label of each sample."""

    values: np.ndarray
    """(N,) class names, or float64 numbers; zeros for other kinds of labels."""
    classes: tuple[str, ...] | None
    """All class names in order; None if there are none."""

    def counts(self, rows: np.ndarray) -> dict[str, int]:
        """Count the samples of each class among some rows; under "" if there are no classes."""
        if self.classes is None:
            return {"": len(self.values[rows])}
        counted = Counter(self.values[rows])
        return {name: counted[name] for name in self.classes}


def read_labels(records: Records, name: str, kind: Kind) -> Labels:
    """Read and check the labels.

    Args:
        records: all samples.
        name: the column; empty if there is none.
        kind: of the column.

    Raises:
        JobError: a label is missing, or all are equal.

    """
    if not name or kind not in ("number", "category"):
        return Labels(np.zeros(len(records)), None)
    values = label_values(records, name, kind)
    if kind == "number":
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


def check_known(records: Records, name: str, classes: tuple[str, ...]) -> None:
    """Check the labels of new data against the classes that a model was trained on.

    Raises:
        JobError: a label is missing, or a class is new.

    """
    unknown = sorted(set(label_values(records, name, "category")) - set(classes))
    if unknown:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise JobError([Problem("", f"classes the model does not know: {', '.join(unknown[:5])}{more}")])


def label_values(records: Records, name: str, kind: Kind) -> np.ndarray:
    """Return (N,) class names or float64 numbers.

    Raises:
        JobError: one is missing, or not of this kind.

    """
    column = records.columns[name]
    values = as_numbers(column) if kind == "number" else as_text(column)
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
