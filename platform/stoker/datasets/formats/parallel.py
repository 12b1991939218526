"""Parallel texts: files such as train.en and train.de, whose lines belong together."""

from pathlib import Path

import numpy as np
import pandas as pd

from stoker.datasets.folders import language_files, part_of
from stoker.datasets.formats.text import lines_of
from stoker.datasets.records import Records, table
from stoker.job.dataset import Dataset


def read(path: Path, dataset: Dataset) -> Records:
    """Read the lines of all files, with a column for each language; names that begin with a part tell the part.

    Raises:
        ValueError: a file has no counterpart, another number of lines or another encoding, or there are none.

    """
    files = language_files(path)
    if not files:
        raise ValueError("it has no files such as train.en and train.de")
    languages = sorted({language for found in files.values() for language in found})
    columns: dict[str, list[str]] = {language: [] for language in languages}
    parts: list[str] = []
    for name, found in files.items():
        if missing := [language for language in languages if language not in found]:
            there = next(iter(found.values())).name
            raise ValueError(f"'{there}' has no counterpart '{name}.{missing[0]}'")
        lines = {language: _lines(found[language], dataset) for language in languages}
        counts = {language: len(each) for language, each in lines.items()}
        if len(set(counts.values())) > 1:
            shown = ", ".join(f"'{found[language].name}' has {count:,}" for language, count in counts.items())
            cure = "write each line beside its counterpart, and an empty one where there is none"
            raise ValueError(f"files whose lines belong together differ in their number of lines: {shown}; {cure}")
        for language, each in lines.items():
            columns[language] += each
        parts += [part_of(found[languages[0]])] * counts[languages[0]]
    frame = pd.DataFrame({language: pd.Series(each, dtype=object) for language, each in columns.items()})
    named = all(parts) and "train" in parts
    return table(frame, dataset.columns.label or "", np.array(parts) if named else None)


def _lines(file: Path, dataset: Dataset) -> list[str]:
    try:
        return lines_of(file, dataset.encoding)
    except ValueError as error:
        raise ValueError(f"'{file.name}': {error}") from error
