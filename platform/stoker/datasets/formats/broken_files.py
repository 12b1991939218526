"""Converts the exceptions of readers at a broken file into problems of the job."""

import zlib
from collections.abc import Callable
from csv import Error as CsvError
from typing import TypeVar

from stoker.errors import JobError, Problem

Content = TypeVar("Content")


def read_as(source: str, read: Callable[[], Content]) -> Content:
    """Call a reader, and turn errors of the file's content into problems of the job.

    Raises:
        JobError: it cannot be read; the message names the file.

    """
    try:
        return read()
    except (OSError, EOFError, ValueError, zlib.error, CsvError) as error:
        raise JobError([Problem("dataset.source", f"cannot read '{source}': {error}")]) from error
