"""A file or folder of this machine."""

import zlib
from collections.abc import Callable
from csv import Error as CsvError
from pathlib import Path
from typing import TypeVar

import pandas as pd

from stoker.datasets.formats import csv, idx, image_folder, parquet
from stoker.datasets.inspection import table_files
from stoker.datasets.samples import Raw, Table
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset

Content = TypeVar("Content")

TABLES: dict[str, Callable[[Path, Dataset], Table]] = {"csv": csv.read, "parquet": parquet.read}
READERS: dict[str, Callable[[Path, Dataset], Raw]] = {
    **TABLES,
    "idx": idx.read,
    "image-folder": image_folder.read,
}


def read_local(dataset: Dataset, path: Path, format_name: str) -> Raw:
    """Read the file or folder with the content of `dataset.source`.

    Raises:
        JobError: it cannot be read; the message names the file.

    """
    if not path.exists():
        raise JobError([Problem("dataset.source", f"no file or folder '{dataset.source}'")])
    if format_name in TABLES and path.is_dir():
        return read_as(dataset.source, lambda: _read_tables(path, dataset, format_name))
    return read_as(dataset.source, lambda: READERS[format_name](path, dataset))


def read_as(source: str, read: Callable[[], Content]) -> Content:
    """Call a reader; whatever it says of the file's content becomes a problem of the job.

    Raises:
        JobError: it cannot be read; the message names the file.

    """
    try:
        return read()
    except (OSError, EOFError, ValueError, zlib.error, CsvError) as error:
        raise JobError([Problem("dataset.source", f"cannot read '{source}': {error}")]) from error


def _read_tables(folder: Path, dataset: Dataset, format_name: str) -> Table:
    """Read the files of a folder, in the order of their names, as one table."""
    files = table_files(folder, format_name)
    if not files:
        raise ValueError(f"there are no {format_name} files in it")
    tables = [TABLES[format_name](file, dataset) for file in files]
    columns = set(tables[0].frame.columns)
    for file, table in zip(files, tables, strict=True):
        if set(table.frame.columns) != columns:
            name, other = file.relative_to(folder), files[0].relative_to(folder)
            raise ValueError(f"its files '{other}' and '{name}' have different columns")
    return Table(pd.concat([table.frame for table in tables], ignore_index=True), tables[0].label)
