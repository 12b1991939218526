"""Comma-, semicolon- or tab-separated text, plain or gzip."""

import csv
import warnings
from pathlib import Path

import pandas as pd

from stoker.datasets.formats.csv_dialect import Dialect, csv_dialect
from stoker.datasets.formats.encodings import require_no_nul
from stoker.datasets.formats.format_inference import text_of
from stoker.job.dataset import Dataset

LONGEST = 1 << 30
"""Characters of a value; the library takes a long text for an unclosed quote."""


def read(path: Path, dataset: Dataset) -> pd.DataFrame:
    """Read all rows of a file; empty fields and NA are missing values.

    Raises:
        ValueError: it is not delimited text, holds NUL characters, or repeats its header.

    """
    dialect = csv_dialect(path, dataset.encoding)
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
        except (pd.errors.ParserWarning, pd.errors.ParserError) as error:
            raise ValueError(_mistake(path, dialect, names) or "its rows have more values than its header") from error
        except pd.errors.EmptyDataError as error:
            raise ValueError("it is empty") from error
    frame.columns = frame.columns.astype(str)
    _require_no_nul(frame, path, dialect)
    if not names and _repeats_header(frame):
        raise ValueError(_repeated_header(path, dialect))
    frame.columns = frame.columns.str.strip()
    return frame


def _require_no_nul(frame: pd.DataFrame, path: Path, dialect: Dialect) -> None:
    """Check that no text has a NUL character; the file is searched for its line only if one has."""
    texts = [frame[name] for name in frame.columns if not pd.api.types.is_numeric_dtype(frame[name])]
    if any("\0" in name for name in frame.columns) or any(
        "\0" in value for column in texts for value in column if isinstance(value, str)
    ):
        with text_of(path, dialect.codec) as file:
            require_no_nul(file.read())


def _mistake(path: Path, dialect: Dialect, names: list[str] | None) -> str | None:
    """Return the first row that does not fit the header, with its line, in words."""
    csv.field_size_limit(LONGEST)
    with text_of(path, dialect.codec) as file:
        rows = csv.reader(
            file, delimiter=dialect.delimiter, quotechar=dialect.quote, skipinitialspace=True, strict=True
        )
        line = 1
        try:
            width = len(names or next(rows))
            line = rows.line_num + 1
            for row in rows:
                if len(row) > width:
                    expected = f"dataset.columns.names {width}" if names else f"the header {width}"
                    cure = f"name every column, or quote a value that holds '{dialect.delimiter}'"
                    return f"line {line} has {len(row)} values, {expected}; {cure}"
                line = rows.line_num + 1
        except csv.Error as error:
            if "expected after" in str(error):
                return (
                    f"line {rows.line_num}: text follows a closing quote ({dialect.quote}); double a quote in a value"
                )
            return f"line {line}: the quote ({dialect.quote}) that opens here is never closed"
    return None


def _repeats_header(frame: pd.DataFrame) -> bool:
    """Return whether a row is the header again; then columns of numbers are read as text, but for names like 2020."""
    texts = [name for name in frame.columns if not pd.api.types.is_numeric_dtype(frame[name])]
    if any(not name.isdecimal() for name in frame.columns.difference(texts)):
        return False
    same = pd.Series(True, index=frame.index)
    for name in frame.columns:
        same &= frame[name].astype(str) == name
    return bool(same.any()) and len(frame.columns) > 0


def _repeated_header(path: Path, dialect: Dialect) -> str:
    with text_of(path, dialect.codec) as file:
        rows = csv.reader(file, delimiter=dialect.delimiter, quotechar=dialect.quote, skipinitialspace=True)
        header = next(rows)
        line = next(rows.line_num for row in rows if row == header)
    return f"line {line} repeats the header; remove it"
