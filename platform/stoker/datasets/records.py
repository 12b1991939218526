"""Raw samples as they were read, by column."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from stoker.datasets.members import Location, name_of

PARTS = ("train", "val", "test")
DEEP_BITS = 16
"""Bits of deep grey images, if nothing is known of their values."""


@dataclass(frozen=True)
class Files:
    """A column of files, read when their content is needed."""

    paths: tuple[Location, ...]
    root: Path | None = None
    """Folder that the names in messages are relative to."""
    content: np.ndarray | None = None
    """(N, ...) decoded content, if it is in memory."""
    bits: int = DEEP_BITS
    """Bits that the values of deep grey images use; of these, the 8 upper ones are kept."""
    colours: tuple[int, ...] = ()
    """Of the classes of colour-coded masks, as 0xRRGGBB; empty for masks that hold numbers."""
    classes: tuple[str, ...] = ()
    """The names of values 0, 1 and so on of masks, if the source knows them."""

    def __len__(self) -> int:
        return len(self.paths)

    def rows(self, index: np.ndarray) -> "Files":
        """Pick rows by number."""
        content = None if self.content is None else self.content[index]
        return replace(self, paths=tuple(self.paths[number] for number in index), content=content)

    def names(self) -> tuple[str, ...]:
        """Return the name of each file for messages."""
        return tuple(name_of(path, self.root) for path in self.paths)


RawColumn = pd.Series | np.ndarray | Files
"""Numbers, texts or paths of one column, or an array (N, ...) of values in memory, such as images."""


@dataclass(frozen=True)
class Records:
    """Raw samples; each column holds one value per sample."""

    columns: dict[str, RawColumn]
    label: str = ""
    """Name of the column to predict, if the source or the job knows it."""
    parts: np.ndarray | None = None
    """(N,) part of each sample, if the source itself is split."""
    names: tuple[str, ...] = ()
    """The name of each sample, such as its file; empty if samples only have numbers."""
    dialect: str = ""
    """How the files were read, in words; empty for formats that leave no choice."""

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    @property
    def frame(self) -> pd.DataFrame:
        """Return the columns with single values as a table."""
        return pd.DataFrame({name: each for name, each in self.columns.items() if isinstance(each, pd.Series)})

    @property
    def is_table(self) -> bool:
        """Return whether the columns come from a table, whose rows are counted from 1 in messages."""
        return any(isinstance(column, pd.Series) for column in self.columns.values()) and not self.names

    def rows(self, index: np.ndarray) -> "Records":
        """Pick rows by number."""
        columns = {name: pick(column, index) for name, column in self.columns.items()}
        parts = None if self.parts is None else self.parts[index]
        return Records(columns, self.label, parts, tuple(self.names[i] for i in index) if self.names else ())


def table(frame: pd.DataFrame, label: str = "", parts: np.ndarray | None = None) -> Records:
    """Return the rows of a table as records."""
    return Records({str(name): frame[name] for name in frame.columns}, label, parts)


def pick(column: RawColumn, index: np.ndarray) -> RawColumn:
    """Pick rows of a column by number."""
    if isinstance(column, Files):
        return column.rows(index)
    return column.iloc[index] if isinstance(column, pd.Series) else column[index]


def in_memory(column: RawColumn) -> np.ndarray | None:
    """Return the array (N, ...) of a column whose values are in memory; None for files not read yet."""
    if isinstance(column, Files):
        return column.content
    return column if isinstance(column, np.ndarray) else None
