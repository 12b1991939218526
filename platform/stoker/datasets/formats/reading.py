"""From the name of a format to its reader."""

import zlib
from collections.abc import Callable
from csv import Error as CsvError
from pathlib import Path
from typing import TypeVar

from stoker.datasets.formats import idx, image_folder, image_mask, npz, text
from stoker.datasets.formats.tables import table_reader
from stoker.datasets.records import Records
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset

Content = TypeVar("Content")

READERS: dict[str, Callable[[Path, Dataset], Records]] = {
    "csv": table_reader("csv"),
    "jsonl": table_reader("jsonl"),
    "parquet": table_reader("parquet"),
    "text": text.read,
    "idx": idx.read,
    "npz": npz.read,
    "image-folder": image_folder.read,
    "image-mask": image_mask.read,
}


def read_path(dataset: Dataset, path: Path, format_name: str) -> Records:
    """Read the file or folder with the content of `dataset.source`.

    Raises:
        JobError: it cannot be read; the message names the file.

    """
    if not path.exists():
        raise JobError([Problem("dataset.source", f"no file or folder '{dataset.source}'")])
    return read_as(dataset.source, lambda: READERS[format_name](path, dataset))


def read_as(source: str, read: Callable[[], Content]) -> Content:
    """Call a reader; whatever is wrong with the file's content becomes a problem of the job.

    Raises:
        JobError: it cannot be read; the message names the file.

    """
    try:
        return read()
    except (OSError, EOFError, ValueError, zlib.error, CsvError) as error:
        raise JobError([Problem("dataset.source", f"cannot read '{source}': {error}")]) from error
