"""What is to be predicted, as the data has it: classes or numbers, checked before anything is learnt from them."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from stoker.datasets.columns import as_numbers, as_text
from stoker.datasets.samples import Pictures, Raw, Table
from stoker.errors import JobError, Problem
from stoker.job.task import Target

MOST_CLASSES = 10_000
FEWEST_SAMPLES = 2
"""Average number of samples a class needs where there are more than a hundred: else the label is a number or a name."""


@dataclass(frozen=True)
class Labels:
    """The label of each sample."""

    values: np.ndarray
    """(N,) class names, or float64 numbers."""
    classes: tuple[str, ...] | None
    """All class names in their order; None for numbers."""

    def encoded(self) -> torch.Tensor:
        """Return (N,) int64 places in `classes`, or float32 numbers."""
        if self.classes is None:
            return torch.from_numpy(self.values.astype(np.float32))
        places = {name: place for place, name in enumerate(self.classes)}
        return torch.tensor([places[label] for label in self.values], dtype=torch.int64)

    def counts(self, rows: np.ndarray) -> dict[str, int]:
        """Count the samples of each class among some rows; under "" for numbers."""
        if self.classes is None:
            return {"": len(self.values[rows])}
        counted = Counter(self.values[rows])
        return {name: counted[name] for name in self.classes}


def read_labels(raw: Raw, target: Target) -> Labels:
    """Read and check the labels to learn from.

    Raises:
        JobError: a label is missing, or there is nothing to tell apart.

    """
    values = label_values(raw, target)
    if target == "value":
        if len(np.unique(values)) == 1:
            raise _problem(raw, f"every row has the value {values[0]:g}: there is nothing to learn")
        return Labels(values, None)
    classes = sorted_classes(values)
    if len(classes) == 1:
        raise _problem(raw, f"only one class, '{classes[0]}': there is nothing to tell apart")
    if len(classes) > MOST_CLASSES or len(classes) > max(100, len(values) / FEWEST_SAMPLES):
        cure = "; is it a number (tabular-regression)?" if isinstance(raw, Table) else ""
        raise _problem(raw, f"{len(classes)} classes in {len(values)} samples{cure}")
    return Labels(values, classes)


def known_labels(raw: Raw, classes: tuple[str, ...] | None) -> Labels:
    """Read the labels of new data for a model that was trained on `classes`, or on numbers.

    Raises:
        JobError: a label is missing, or a class is new.

    """
    values = label_values(raw, "value" if classes is None else "class")
    unknown = sorted(set(values) - set(classes)) if classes is not None else []
    if unknown:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise JobError([Problem("", f"classes the model does not know: {', '.join(unknown[:5])}{more}")])
    return Labels(values, classes)


def label_values(raw: Raw, target: Target) -> np.ndarray:
    """Return (N,) class names or float64 numbers.

    Raises:
        JobError: one is missing, or not of this kind.

    """
    if isinstance(raw, Pictures):
        assert raw.labels is not None
        return raw.labels
    column = raw.frame[raw.label]
    values = as_numbers(column) if target == "value" else as_text(column)
    missing = np.flatnonzero(pd.isna(values))
    if len(missing) == 0:
        return values
    first = int(missing[0])
    if not pd.isna(column.iloc[first]):
        message = f"'{column.iloc[first]}' in column '{raw.label}', row {first + 1}, is not a finite number"
        raise _problem(raw, message)
    rows = f"{len(missing)} of {len(values)} rows have no value in column '{raw.label}'"
    raise _problem(raw, f"{rows} (first: row {first + 1}); remove them")


def sorted_classes(labels: np.ndarray) -> tuple[str, ...]:
    """Order class names: as numbers where all are, by letters otherwise."""
    names = sorted(set(map(str, labels)))
    numbers = pd.to_numeric(pd.Series(names, dtype=object), errors="coerce").to_numpy(np.float64)
    return tuple(np.array(names, object)[np.argsort(numbers, kind="stable")] if np.isfinite(numbers).all() else names)


def _problem(raw: Raw, message: str) -> JobError:
    path = "dataset.columns.label" if isinstance(raw, Table) else "dataset.source"
    return JobError([Problem(path, message)])
