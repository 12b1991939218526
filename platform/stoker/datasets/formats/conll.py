"""CoNLL columns: a word a line with its tags behind it, and a blank line between two sentences."""

import json
import re
from pathlib import Path

import pandas as pd

from stoker.datasets.formats.text import lines_of
from stoker.job.dataset import Dataset
from stoker.job.formats import CONLL_COLUMNS

DOCUMENT = "-DOCSTART-"
"""Begins a document in the files of CoNLL 2003; it is no word."""
INVISIBLE = " \t\ufeff"
"""What a blank line may hold: a byte order mark comes into the middle where files were joined."""
_BLANKS = re.compile("[ \t]+")


def read(path: Path, dataset: Dataset) -> pd.DataFrame:
    """Read a sentence a row; each cell is a JSON list with a value for each word.

    All columns are kept where the job names them, otherwise the first one (words) and the last one (tags).

    Raises:
        ValueError: a line has more or fewer columns than the first one, or no tag; or the file has another encoding.

    """
    lines = lines_of(path, dataset.encoding)
    sentences = _sentences(lines, dataset.columns.names)
    if not sentences:
        raise ValueError("it holds no words")
    names = list(dataset.columns.names)
    if not names:
        names, sentences = list(CONLL_COLUMNS), [[row[:: len(row) - 1] for row in rows] for rows in sentences]
    columns = [[json.dumps(cells, ensure_ascii=False) for cells in zip(*rows, strict=True)] for rows in sentences]
    return pd.DataFrame(columns, columns=names, dtype=object)


def label_of(frame: pd.DataFrame) -> str:
    """Return the column to predict unless the job names one: the last one."""
    return str(frame.columns[-1])


def _sentences(lines: list[str], names: tuple[str, ...]) -> list[list[list[str]]]:
    """Return the columns of each word of each sentence."""
    tabs, width, first = _layout(lines, len(names))
    expected = "dataset.columns.names names" if names else f"line {first} has"
    sentences: list[list[list[str]]] = []
    begins = True
    for number, line in enumerate(lines, start=1):
        if not line.strip(INVISIBLE) or line.startswith(DOCUMENT):
            begins = True
            continue
        cells = _cells(line, tabs)
        if _is_comment(line, begins, tabs, len(cells) == width):
            continue
        if len(cells) != width:
            cure = "each word has its tags in its own line, and a blank line ends a sentence"
            raise ValueError(f"line {number} has {_columns(len(cells))}, {expected} {width}; {cure}")
        if begins:
            sentences.append([])
        sentences[-1].append(cells)
        begins = False
    return sentences


def _layout(lines: list[str], named: int) -> tuple[bool, int, int]:
    """Return whether tabs separate columns, how many there are, and the number of the first line with a word."""
    for number, line in enumerate(lines, start=1):
        tabs = "\t" in line
        if not line.strip(INVISIBLE) or line.startswith(DOCUMENT) or (line.startswith("#") and not tabs):
            continue
        width = len(_cells(line, tabs))
        if width < 2:
            cure = "a word and its tag belong in a line, with a tab or a blank between them"
            raise ValueError(f"line {number} has no tag: {cure}; to predict, write the sentences as text")
        return tabs, named or width, number
    return False, named or 2, 0


def _cells(line: str, tabs: bool) -> list[str]:
    """Split a line; a word may hold blanks where tabs separate."""
    return [cell.strip() for cell in line.split("\t")] if tabs else _BLANKS.split(line.strip(INVISIBLE))


def _is_comment(line: str, begins: bool, tabs: bool, fits: bool) -> bool:
    """Return whether a line is a comment: it stands before a sentence, or has not the columns of a word.

    A word may be # itself.
    """
    if not line.startswith("#") or (tabs and "\t" in line):
        return False
    return tabs or (line.startswith("# ") and (begins or not fits))


def _columns(count: int) -> str:
    return f"{count} column{'s' * (count > 1)}"
