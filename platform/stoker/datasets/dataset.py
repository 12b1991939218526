"""A dataset ready for training, its fingerprint and example rows."""

import datetime
import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stoker.datasets.fields.category import as_text
from stoker.datasets.fields.schema import Fields
from stoker.datasets.members import size_of
from stoker.datasets.records import Files, RawColumn, Records, pick
from stoker.datasets.samples import Samples
from stoker.datasets.values.times import holds_timestamps
from stoker.job.dataset import Dataset

EXAMPLES = 3
BEGINNING = 80
"""Characters of a text that a model is asked to continue."""


@dataclass(frozen=True)
class LoadedDataset:
    """A dataset ready for training."""

    spec: Dataset
    """The job's section, with all inferred values filled in."""
    fields: Fields
    parts: dict[str, Samples]
    """Parts with at least one sample, by name; `train` is always there."""
    counts: dict[str, dict[str, int]]
    """Samples of each class in each part; under "" if there are no classes."""
    names: tuple[str, ...]
    """The name of each sample of the source; empty if samples only have numbers."""
    fingerprint: str
    """SHA-256 of the data."""
    notes: tuple[str, ...]
    example: pd.DataFrame | np.ndarray
    """A few raw samples without label, as `predict` takes them."""

    def name_of(self, number: int) -> str:
        """Return the name of a sample of the source."""
        return self.names[number] if self.names else str(number)


def fingerprint(records: Records) -> str:
    """Return the SHA-256 of all cells with their column names, and of the pixels of images.

    Files that are decoded later are identified by name and size.
    """
    digest = hashlib.sha256()
    for name, column in records.columns.items():
        digest.update(name.encode() + b"\0")
        content = column.content if isinstance(column, Files) else column
        if isinstance(content, pd.Series):
            digest.update(pd.util.hash_pandas_object(content, index=False).to_numpy().tobytes())
        elif content is None:
            assert isinstance(column, Files)
            sizes = map(size_of, column.paths)
            digest.update(
                "".join(f"{name} {size}\n" for name, size in zip(column.names(), sizes, strict=True)).encode()
            )
        else:
            digest.update(repr(content.shape).encode())
            digest.update(np.ascontiguousarray(content).data)
    return digest.hexdigest()


def example_of(records: Records, fields: Fields) -> pd.DataFrame | np.ndarray:
    """Return a few raw samples without label: rows of a table, beginnings of texts, or images as an array."""
    if fields.layout.joins:
        texts = as_text(records.columns[fields.text.name])[:EXAMPLES]
        return pd.DataFrame({fields.text.name: [(text or "")[:BEGINNING] for text in texts]})
    few = [pick(records.columns[name], np.arange(min(EXAMPLES, len(records)))) for name in fields.columns]
    if len(few) == 1 and not isinstance(few[0], pd.Series):
        content = few[0].content if isinstance(few[0], Files) else few[0]
        return decoded_pixels(few[0], fields) if content is None else content
    return pd.DataFrame({name: _cells(column) for name, column in zip(fields.columns, few, strict=True)})


def _cells(column: RawColumn) -> pd.Series:
    """Return the values of a column as cells of a table: files by their names, images in memory as nested lists."""
    if isinstance(column, pd.Series):
        cells = column.reset_index(drop=True)
        return cells.map(_written, na_action="ignore").astype(object) if holds_timestamps(cells) else cells
    return pd.Series(list(column.names()) if isinstance(column, Files) else column.tolist())


def _written(time: datetime.date) -> str:
    """Write a date, or a time, as texts of requests hold it."""
    return time.isoformat()


def decoded_pixels(column: RawColumn, fields: Fields) -> np.ndarray:
    """Decode the files of the only image of a sample."""
    assert isinstance(column, Files)
    return fields.image.decode(column).numpy()
