"""Labels with what a split has to know of them: which samples are normal, and which belong to one image."""

from dataclasses import replace

import numpy as np
import pandas as pd

from stoker.datasets.fields.category import as_text, sorted_classes
from stoker.datasets.fields.inference import Roles
from stoker.datasets.records import Files, Records
from stoker.datasets.values.labels import Labels, label_values, read_labels
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset
from stoker.job.task import Kind

KEY = "dataset.columns.normal"
SHOWN = 5


def labels_of(records: Records, roles: Roles, kind: Kind, dataset: Dataset) -> Labels:
    """Read and check the labels; samples of classes that are not normal are odd, texts of one image stay together.

    Raises:
        JobError: a label is missing or invalid, or it is not known which classes are normal.

    """
    name = roles.target
    if kind != "normality" or not name:
        labels = read_labels(records, name, kind)
        return replace(labels, groups=_images(records, roles)) if kind == "text" else labels
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


def _images(records: Records, roles: Roles) -> np.ndarray | None:
    """Return the name of each sample's image, where samples have one of a file."""
    for name, kind in roles.inputs.items():
        column = records.columns[name]
        if kind == "image" and isinstance(column, Files):
            return np.array(column.names(), object).astype(str)
        if kind == "image" and isinstance(column, pd.Series):
            return as_text(column).astype(str)
    return None
