"""A file or folder of this machine."""

import zlib
from collections.abc import Callable
from csv import Error as CsvError
from pathlib import Path
from typing import TypeVar

from stoker.datasets.formats import csv, idx, image_folder, parquet
from stoker.datasets.samples import Raw
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset

Content = TypeVar("Content")

READERS: dict[str, Callable[[Path, Dataset], Raw]] = {
    "csv": csv.read,
    "parquet": parquet.read,
    "idx": idx.read,
    "image-folder": image_folder.read,
}


def read_local(dataset: Dataset, format_name: str) -> Raw:
    """Read `dataset.source` as a path.

    Raises:
        JobError: it cannot be read; the message names the file.

    """
    path = Path(dataset.source).expanduser()
    if not path.exists():
        raise JobError([Problem("dataset.source", f"no file or folder '{dataset.source}'")])
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
