"""Tables in one or many files, whose names may contain the part."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from stoker.datasets.folders import part_of
from stoker.datasets.formats import conll, csv, jsonl, parquet, squad
from stoker.datasets.formats.broken_files import read_as
from stoker.datasets.formats.csv_dialect import csv_dialect
from stoker.datasets.formats.encodings import undecodable
from stoker.datasets.formats.format_inference import table_files
from stoker.datasets.records import Records, table
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset

READERS: dict[str, Callable[[Path, Dataset], pd.DataFrame]] = {
    "csv": csv.read,
    "jsonl": jsonl.read,
    "parquet": parquet.read,
    "conll": conll.read,
    "squad": squad.read,
}
LABELS: dict[str, Callable[[pd.DataFrame], str]] = {"conll": conll.label_of, "squad": squad.label_of}
"""The column to predict unless the job names one, for formats that know it."""
DIALECTS: dict[str, Callable[[Path, Dataset], str]] = {
    "csv": lambda path, dataset: csv_dialect(path, dataset.encoding).text
}
"""How a file is read, for formats that leave a choice."""


def table_reader(name: str) -> Callable[[Path, Dataset], Records]:
    """Return the reader of a format whose files are tables."""
    read = partial(_read, READERS[name])

    def read_all(path: Path, dataset: Dataset) -> Records:
        """Read a file, or all files of a folder; files named train, val (or dev) and test become these parts.

        Raises:
            JobError: a file cannot be read, or the files differ in their columns.

        """
        if not path.is_dir():
            frame = read(path, dataset)
            return _with_dialect(table(frame, _label(frame, name, dataset)), name, [path], dataset)
        files = table_files(path, name)
        if not files:
            raise JobError([Problem("dataset.source", f"there are no {name} files in the folder '{path}'")])
        frames = [read_as(str(file), partial(read, file, dataset)) for file in files]
        for file, frame in zip(files[1:], frames[1:], strict=True):
            if set(frame.columns) != set(frames[0].columns):
                different = ", ".join(sorted(set(frame.columns) ^ set(frames[0].columns)))
                message = f"'{file}' and '{files[0].name}' differ in their columns: {different}"
                raise JobError([Problem("dataset.source", message)])
        found = [part_of(file) for file in files]
        named = all(found) and "train" in found
        parts = np.repeat(found, [len(frame) for frame in frames]) if named else None
        records = table(pd.concat(frames, ignore_index=True), _label(frames[0], name, dataset), parts)
        return _with_dialect(records, name, files, dataset)

    return read_all


def _read(read: Callable[[Path, Dataset], pd.DataFrame], file: Path, dataset: Dataset) -> pd.DataFrame:
    try:
        return read(file, dataset)
    except UnicodeError as error:
        raise ValueError(undecodable(file, dataset.encoding)) from error


def _label(frame: pd.DataFrame, name: str, dataset: Dataset) -> str:
    return dataset.columns.label or (LABELS[name](frame) if name in LABELS else "")


def _with_dialect(records: Records, name: str, files: list[Path], dataset: Dataset) -> Records:
    found = dict.fromkeys(DIALECTS[name](file, dataset) for file in files) if name in DIALECTS else {}
    return replace(records, dialect="; ".join(found))
