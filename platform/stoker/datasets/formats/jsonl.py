"""JSON Lines, one object per line, or a JSON list of objects; plain or gzip."""

import json
import re
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

from stoker.datasets.formats.csv_dialect import codec_of
from stoker.datasets.formats.encodings import not_json
from stoker.datasets.formats.format_inference import starts_list, text_of
from stoker.job.dataset import Dataset

_HALF_PAIR = re.compile(r"[\ud800-\udfff]")


def read(path: Path, dataset: Dataset) -> pd.DataFrame:
    """Read all objects of a file; missing keys are missing values, and nested values become text.

    Raises:
        ValueError: a line is not an object.

    """
    rows: list[dict[str, Any]] = []
    with text_of(path, codec_of(dataset.encoding)) as file:
        if starts_list(file):
            return _list(file)
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"line {number} {not_json(error)}") from error
            except RecursionError as error:
                raise ValueError(f"line {number} is nested too deeply") from error
            if not isinstance(row, dict):
                raise ValueError(f'line {number} is not an object such as {{"text": "...", "label": 1}}')
            rows.append({key: _plain(value) for key, value in row.items()})
    return pd.DataFrame(rows)


def _list(file: TextIO) -> pd.DataFrame:
    """Read a list of objects."""
    try:
        rows = json.load(file)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno} {not_json(error)}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError('a value of the list is not an object such as {"text": "...", "label": 1}')
    return pd.DataFrame([{key: _plain(value) for key, value in row.items()} for row in rows])


def _plain(value: Any) -> Any:
    if isinstance(value, str):  # JSON allows unpaired surrogates, UTF-8 does not
        return value.encode(errors="replace").decode() if _HALF_PAIR.search(value) else value
    return json.dumps(value) if isinstance(value, (dict, list)) else value
