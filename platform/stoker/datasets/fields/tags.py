"""Tags to predict: any number of names per sample (multi-label classification)."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch

from stoker.datasets.columns import Column, Dense
from stoker.datasets.fields.category import as_text, sorted_classes
from stoker.datasets.fields.field import TargetField
from stoker.datasets.records import RawColumn
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset
from stoker.job.signature import TagsOutput
from stoker.job.task import Kind

SEPARATORS = (";", "|", ",")
"""The first one that occurs in the training rows separates tags; the others may be part of a name."""
MAX_TAGS = 1000
MIN_SAMPLES = 2
"""Average number of samples per tag, with more than a hundred tags; with fewer the column holds sentences."""
SHOWN = 5


@dataclass(frozen=True)
class TagsField(TargetField):
    """Tags to predict: a JSON list or a separated text; a missing value means no tags."""

    kind: ClassVar[Kind] = "tags"

    tags: tuple[str, ...]
    separator: str
    """Separator of the tags of a text."""

    @classmethod
    def fit(cls, name: str, raw: RawColumn, settings: Dataset) -> Self:
        """Find the separator of the training rows, and their tags unless the job names them.

        Raises:
            JobError: no row has a tag, or there are too many tags.

        """
        separator = find_separator(raw) or SEPARATORS[0]
        counted = Counter(tag for tags in read_tags(raw, name, separator) for tag in tags)
        if not counted:
            raise _problem("no training row has a tag: there is nothing to learn")
        if len(counted) > MAX_TAGS or len(counted) > max(100, counted.total() / MIN_SAMPLES):
            message = f"{len(counted)} different tags in {len(raw)} training rows, at most {MAX_TAGS} can be learnt"
            raise _problem(f"{message}; are they texts, or separated by something other than {' '.join(SEPARATORS)}?")
        return cls(name, settings.columns.classes or sorted_classes(np.array(list(counted), object)), separator)

    def encode(self, raw: RawColumn) -> Column:
        """Return (N, tags) uint8, 1 for the tags of a sample; unknown tags are ignored.

        Raises:
            JobError: a value looks like a list but is invalid.

        """
        places = {tag: place for place, tag in enumerate(self.tags)}
        encoded = np.zeros((len(raw), len(self.tags)), np.uint8)
        for row, tags in enumerate(read_tags(raw, self.name, self.separator)):
            encoded[row, [places[tag] for tag in tags if tag in places]] = 1
        return Dense(torch.from_numpy(encoded))

    def notes(self, raw: RawColumn, parts: np.ndarray) -> Iterator[str]:
        """Yield notes on the separator, and on tags that only held-out parts have."""
        assert isinstance(raw, pd.Series)
        if found := find_separator(raw[parts == "train"]):
            yield f"column '{self.name}': '{found}' separates {len(self.tags)} tags"
        held_out = raw[(parts == "val") | (parts == "test")]
        unknown = {tag for tags in read_tags(held_out, self.name, self.separator) for tag in tags} - set(self.tags)
        if unknown:
            names = ", ".join(sorted(unknown)[:SHOWN]) + (", ..." if len(unknown) > SHOWN else "")
            yield f"column '{self.name}': no training row has {names}; unlearnt tags are not measured"

    def names(self, present: Sequence[bool]) -> str:
        """Join the names of the present tags with the separator of the data."""
        between = self.separator if self.separator == "|" else f"{self.separator} "
        return between.join(tag for tag, there in zip(self.tags, present, strict=True) if there)

    @property
    def output(self) -> TagsOutput:
        """Return the tags."""
        return TagsOutput(self.tags)


def find_separator(raw: RawColumn) -> str:
    """Return the separator of the tags of a column; empty if every value is a list or a single tag."""
    texts = [text for text in as_text(raw) if text is not None and not _is_list(text)]
    return next((separator for separator in SEPARATORS if any(separator in text for text in texts)), "")


def read_tags(raw: RawColumn, name: str, separator: str) -> list[list[str]]:
    """Read the tags of each row; a missing value means no tags.

    Raises:
        JobError: a value looks like a list but is invalid.

    """
    found = []
    for place, text in enumerate(as_text(raw)):
        if text is not None and _is_list(text):
            tags = _listed(text)
            if tags is None:
                row = raw.index[place] if isinstance(raw, pd.Series) else place
                cure = 'write a list such as ["a", "b"]'
                raise _problem(f"'{text}' in column '{name}', row {row + 1}, is not a list of names; {cure}")
        else:
            tags = [] if text is None else text.split(separator)
        found.append([tag.strip() for tag in tags if tag.strip()])
    return found


def _is_list(text: str) -> bool:
    stripped = text.strip()
    return stripped.startswith("[") and stripped.endswith("]")


def _listed(text: str) -> list[str] | None:
    """Read a JSON list of names or numbers."""
    try:
        values: list[Any] = json.loads(text)
    except json.JSONDecodeError:
        return None
    if any(isinstance(value, (list, dict)) for value in values):
        return None
    return [str(value) for value in values if value is not None]


def _problem(message: str) -> JobError:
    return JobError([Problem("dataset.columns.label", message)])
