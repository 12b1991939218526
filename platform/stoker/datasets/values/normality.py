"""Which samples are normal: those of the classes that the job names, or that a source learns from itself."""

import numpy as np

from stoker.datasets.fields.category import sorted_classes
from stoker.datasets.records import Records
from stoker.datasets.values.labels import Labels, label_values, read_labels
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset
from stoker.job.task import Kind

KEY = "dataset.columns.normal"
SHOWN = 5


def labels_of(records: Records, name: str, kind: Kind, dataset: Dataset) -> Labels:
    """Read and check the labels; samples of classes that are not normal are odd.

    Raises:
        JobError: a label is missing or invalid, or it is not known which classes are normal.

    """
    if kind != "normality" or not name:
        return read_labels(records, name, kind)
    values = label_values(records, name, "category")
    classes = sorted_classes(values)
    normal = dataset.columns.normal or _own_normal(values, records.parts)
    shown = ", ".join(classes[:SHOWN]) + (", ..." if len(classes) > SHOWN else "")
    if not normal:
        raise JobError([Problem(KEY, f"name the classes of '{name}' that are normal, such as [good]; it has: {shown}")])
    if missing := [each for each in normal if each not in classes]:
        raise JobError([Problem(KEY, f"'{missing[0]}' is no class of '{name}'; it has: {shown}")])
    return Labels(values, classes, ~np.isin(values, normal))


def _own_normal(values: np.ndarray, parts: np.ndarray | None) -> tuple[str, ...]:
    """Return the classes of a source's own training part, or the only class; nothing where neither says it."""
    known = values if parts is None else values[parts == "train"]
    classes = sorted_classes(known)
    return classes if parts is not None or len(classes) == 1 else ()
