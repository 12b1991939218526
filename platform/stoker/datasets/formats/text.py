"""Plain text: one sample per line of a file, or one per file of a folder."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd

from stoker.datasets.folders import part_of, visible_files
from stoker.datasets.formats.csv_dialect import codec_of
from stoker.datasets.formats.encodings import require_no_nul, undecodable_at
from stoker.datasets.records import Records, table
from stoker.job.dataset import Dataset


def read(path: Path, dataset: Dataset) -> Records:
    """Read the lines of a file, or the files of a folder, as the column `text`.

    Files named train, val (or dev) and test become these parts.

    Raises:
        ValueError: a file has another encoding, or the folder is empty.

    """
    if not path.is_dir():
        return table(pd.DataFrame({"text": _column(lines_of(path, dataset.encoding))}), dataset.columns.label or "")
    files = visible_files(path)
    if not files:
        raise ValueError("the folder is empty")
    names = tuple(file.relative_to(path).as_posix() for file in files)
    texts = [_content(file, dataset.encoding, f"'{name}'") for file, name in zip(files, names, strict=True)]
    found = [part_of(file) for file in files]
    parts = np.array(found) if all(found) and "train" in found else None
    return Records({"text": _column(texts)}, dataset.columns.label or "", parts, names)


def lines_of(path: Path, encoding: str | None) -> list[str]:
    """Read the lines of a file, plain or gzip; those of str.splitlines would also end within a text.

    Raises:
        ValueError: the file has another encoding, or is no text.

    """
    lines = _content(path, encoding).split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _content(path: Path, encoding: str | None, name: str = "") -> str:
    raw = gzip.decompress(path.read_bytes()) if path.name.lower().endswith(".gz") else path.read_bytes()
    begin = f"{name}: " if name else ""
    try:
        text = raw.decode(codec_of(encoding))
        require_no_nul(text)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ValueError(f"{begin}{undecodable_at(encoding, line, error)}") from error
    except ValueError as error:
        raise ValueError(f"{begin}{error}") from error
    text = text.replace("\r\n", "\n")
    return text if "\n" in text else text.replace("\r", "\n")  # beside \n, a lone \r is a part of a line


def _column(texts: list[str]) -> pd.Series:
    return pd.Series(texts, dtype=object)
