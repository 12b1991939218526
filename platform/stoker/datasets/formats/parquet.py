"""Apache Parquet."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow

from stoker.job.dataset import Dataset


def read(path: Path, dataset: Dataset) -> pd.DataFrame:
    """Read all rows and columns of a file; lists and other nested values become JSON text.

    Raises:
        ValueError: it is not parquet.

    """
    try:
        frame = pd.read_parquet(path).reset_index(drop=True)
    except pyarrow.ArrowException as error:
        raise ValueError(str(error)) from error
    frame.columns = frame.columns.astype(str)
    for name in frame.columns:
        if pd.api.types.is_object_dtype(frame[name]) and not frame[name].map(pd.api.types.is_scalar).all():
            frame[name] = frame[name].map(_plain)
    return frame


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return json.dumps(value, default=str) if isinstance(value, (dict, list)) else value
