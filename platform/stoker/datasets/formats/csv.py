"""Comma-, semicolon- or tab-separated text, plain or gzip."""

import warnings
from pathlib import Path

import pandas as pd

from stoker.datasets.csv_dialect import csv_dialect
from stoker.job.dataset import Dataset


def read(path: Path, dataset: Dataset) -> pd.DataFrame:
    """Read all rows of a file; empty fields and NA are missing values.

    Raises:
        ValueError: it is not delimited text.

    """
    dialect = csv_dialect(path)
    names = list(dataset.columns.names) if dataset.columns.names else None
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            frame = pd.read_csv(
                path,
                sep=dialect.delimiter,
                encoding=dialect.encoding,
                quotechar=dialect.quote,
                index_col=False,
                low_memory=False,
                skipinitialspace=True,
                header=None if names else "infer",
                names=names,
            )
        except pd.errors.ParserWarning as error:
            raise ValueError("its rows have more values than its header") from error
        except UnicodeDecodeError as error:
            raise ValueError("it is not UTF-8 text; save it as UTF-8") from error
    frame.columns = frame.columns.astype(str)
    return frame
