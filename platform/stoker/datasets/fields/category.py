"""Categories as inputs and as the class to predict."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np
import pandas as pd
import torch

from stoker.datasets.columns import Column, Dense
from stoker.datasets.fields.field import InputField, TargetField
from stoker.datasets.records import Files, RawColumn
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset
from stoker.job.signature import CategoriesInput, ClassOutput
from stoker.job.task import Kind

MANY, DIFFERENT, WORDS_OF_TEXT = 20, 0.9, 3
"""Labels of at least so many rows are texts if this share of them differs and most have so many words."""
SHOWN = 60


@dataclass(frozen=True)
class CategoryField(InputField):
    """A category column: a number for each value of the training rows, 0 for missing and unknown ones."""

    kind: ClassVar[Kind] = "category"
    shared: ClassVar[str] = "categories"

    values: tuple[str, ...]

    @classmethod
    def fit(cls, name: str, raw: RawColumn, settings: Dataset) -> Self:
        """Collect the values of the training rows."""
        return cls(name, tuple(sorted({value for value in as_text(raw) if value is not None})))

    def unread(self, raw: RawColumn) -> list[str | None]:
        """Return the values that no training row had; None for the others."""
        texts = as_text(raw)
        return [text if place < 0 else None for text, place in zip(texts, _places(texts, self.values), strict=True)]

    def encode(self, raw: RawColumn) -> Column:
        """Return (N, 1) int64 numbers."""
        return Dense(torch.from_numpy(_places(as_text(raw), self.values)[:, None] + 1))

    def decode(self, numbers: np.ndarray) -> pd.Series:
        """Return the (N,) values of (N,) numbers; missing ones are missing."""
        return pd.Series(np.array([None, *self.values], object)[numbers.astype(np.int64)], dtype=object)

    @classmethod
    def shape(cls, fields: Sequence[Self]) -> CategoriesInput:
        """Return the size of each vocabulary."""
        return CategoriesInput(tuple(len(field.values) + 1 for field in fields))


@dataclass(frozen=True)
class ClassField(TargetField):
    """A class to predict."""

    kind: ClassVar[Kind] = "category"

    classes: tuple[str, ...]
    clean: bool = False
    """Whether labels that differ from a class by case or blanks only are taken for it."""
    shares: tuple[float, ...] = field(default=(), compare=False)
    """Of each class in the training rows."""

    @classmethod
    def fit(cls, name: str, raw: RawColumn, settings: Dataset) -> Self:
        """Collect the classes of the training rows, unless the job names them.

        Raises:
            JobError: they are texts, as where the columns of texts and labels were mixed up.

        """
        clean = settings.columns.clean
        labels = joined_spellings(as_text(raw)) if clean else as_text(raw)
        if not settings.columns.classes:
            _require_classes(name, labels)
        classes = settings.columns.classes or sorted_classes(labels)
        counts = np.bincount(_places(labels, classes) + 1, minlength=len(classes) + 1)[1:]  # without unknown ones
        return cls(name, classes, clean, tuple((counts / max(int(counts.sum()), 1)).tolist()))

    def encode(self, raw: RawColumn) -> Column:
        """Return (N,) int64 indices into `classes`.

        Raises:
            JobError: a label is missing or unknown.

        """
        labels = self.labels(as_text(raw))
        places = _places(labels, self.classes)
        if len(unknown := labels[places < 0]):
            found = "a label is missing" if unknown[0] is None else f"'{unknown[0]}' is none of the classes"
            message = f"column '{self.name}': {found} that training knows; name all classes in dataset.columns.classes"
            raise JobError([Problem("dataset.columns.classes", message)])
        return Dense(torch.from_numpy(places))

    def labels(self, labels: np.ndarray) -> np.ndarray:
        """Return the classes that labels (N,) stand for; unknown ones are kept."""
        if not self.clean:
            return labels
        classes = {spelling_key(name): name for name in self.classes}
        return _mapped(labels, lambda label: classes.get(spelling_key(label), label))

    @property
    def output(self) -> ClassOutput:
        """Return the classes."""
        return ClassOutput(self.classes)


def _require_classes(name: str, labels: np.ndarray) -> None:
    """Check that labels are not texts: almost all different, and mostly of several words.

    Raises:
        JobError: they are.

    """
    known = [label for label in labels if label is not None]
    if len(known) < MANY or len(set(known)) < DIFFERENT * len(known):
        return
    if sum(label.count(" ") >= WORDS_OF_TEXT - 1 for label in known) > len(known) / 2:
        shown = known[0] if len(known[0]) <= SHOWN else f"{known[0][:SHOWN]}..."
        message = f"column '{name}' has {len(set(known)):,} different values in {len(known):,} training rows, as "
        cure = "these are texts, not classes; name the column of classes in dataset.columns.label"
        raise JobError([Problem("dataset.columns.label", f"{message}'{shown}'; {cure}")])


def spelling_key(text: str) -> str:
    """Return what texts have in common that differ by case or blanks only."""
    return " ".join(text.split()).casefold()


def joined_spellings(labels: np.ndarray) -> np.ndarray:
    """Replace labels (N,) that differ by case or blanks only by the most frequent of them, without outer blanks."""
    counts = pd.Series(labels, dtype=object).value_counts()  # the most frequent first
    chosen: dict[str, str] = {}
    for label in counts.index:
        chosen.setdefault(spelling_key(label), label.strip())
    return _mapped(labels, lambda label: chosen[spelling_key(label)])


def _mapped(texts: np.ndarray, change: Callable[[str], str]) -> np.ndarray:
    """Change each different text once; missing ones stay None."""
    codes, found = pd.factorize(texts)
    changed = np.array([*map(change, found), None], object)
    mapped: np.ndarray = changed[codes]  # missing ones have code -1
    return mapped


def _places(texts: np.ndarray, known: tuple[str, ...]) -> np.ndarray:
    """Return (N,) int64 places of texts among known ones; -1 for others and for missing ones."""
    codes, found = pd.factorize(texts)
    places = {text: place for place, text in enumerate(known)}
    return np.array([*(places.get(text, -1) for text in found), -1], np.int64)[codes]  # missing ones have code -1


def as_text(column: RawColumn) -> np.ndarray:
    """Read a column as text; missing values are None.

    A whole number is written without `.0`: a missing value elsewhere in the column must not rename a category.
    """
    assert not isinstance(column, Files)
    series = column if isinstance(column, pd.Series) else pd.Series(column, dtype=object)
    if series.dtype == object:  # True, 1 and 1.0 are equal as keys of factorize, but three different texts
        text = np.empty(len(series), object)
        text[:] = [_text(value) for value in series]
        text[series.isna().to_numpy()] = None
        return text
    places, values = pd.factorize(series)
    texts = np.empty(len(values) + 1, object)
    texts[:-1] = [_text(value) for value in values]
    texts[-1] = None  # factorize codes missing values as -1
    found: np.ndarray = texts[places]
    return found


def sorted_classes(labels: np.ndarray) -> tuple[str, ...]:
    """Sort class names: numerically if all are numbers, alphabetically otherwise."""
    names = sorted(set(map(str, labels)))
    numbers = pd.to_numeric(pd.Series(names, dtype=object), errors="coerce").to_numpy(np.float64)
    return tuple(np.array(names, object)[np.argsort(numbers, kind="stable")] if np.isfinite(numbers).all() else names)


def _text(value: object) -> str:
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)
