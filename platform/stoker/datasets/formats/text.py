"""Plain text: one sample per line."""

from pathlib import Path

import pandas as pd

from stoker.datasets.records import Records, table
from stoker.job.dataset import Dataset


def read(path: Path, dataset: Dataset) -> Records:
    """Read the lines of a file as the column `text`.

    Raises:
        ValueError: it is not UTF-8 text.

    """
    with path.open(encoding="utf-8-sig") as file:  # str.splitlines would also split at rare separators within a text
        lines = [line.rstrip("\n") for line in file]
    return table(pd.DataFrame({"text": pd.Series(lines, dtype=object)}), dataset.columns.label or "")
