"""Plain text: one sample per line."""

from pathlib import Path

import pandas as pd

from stoker.datasets.csv_dialect import codec_of
from stoker.datasets.records import Records, table
from stoker.job.dataset import Dataset


def read(path: Path, dataset: Dataset) -> Records:
    """Read the lines of a file as the column `text`.

    Raises:
        ValueError: it has another encoding.

    """
    try:
        with path.open(encoding=codec_of(dataset.encoding)) as file:  # str.splitlines would also split within a text
            lines = [line.rstrip("\n") for line in file]
    except UnicodeError as error:
        message = f"it is not {dataset.encoding or 'UTF-8'} text; name its encoding in dataset.encoding"
        raise ValueError(message) from error
    return table(pd.DataFrame({"text": pd.Series(lines, dtype=object)}), dataset.columns.label or "")
