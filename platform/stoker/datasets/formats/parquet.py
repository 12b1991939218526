"""Apache Parquet, a file or a folder of them."""

from pathlib import Path

import pandas as pd

from stoker.datasets.samples import Table
from stoker.spec.dataset import Dataset


def read(path: Path, dataset: Dataset) -> Table:
    """Read all rows and columns."""
    frame = pd.read_parquet(path)
    frame.columns = frame.columns.astype(str)
    return Table(frame, dataset.columns.label or "")
