"""Comma-, semicolon- or tab-separated text, plain or gzip."""

from pathlib import Path

import pandas as pd

from stoker.datasets.inspection import csv_delimiter
from stoker.datasets.samples import Table
from stoker.spec.dataset import Dataset


def read(path: Path, dataset: Dataset) -> Table:
    """Read all rows; empty fields and NA are missing values.

    Raises:
        ValueError: it is not such text.

    """
    frame = pd.read_csv(path, sep=csv_delimiter(path), low_memory=False, skipinitialspace=True)
    if not isinstance(frame.index, pd.RangeIndex):
        raise ValueError("its rows have more values than its header")
    frame.columns = frame.columns.astype(str)
    return Table(frame, dataset.columns.label or "")
