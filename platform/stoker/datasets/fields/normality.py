"""Whether a sample is normal, and of which normal class."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch

from stoker.datasets.columns import Column, Dense
from stoker.datasets.fields.category import as_text, sorted_classes
from stoker.datasets.fields.field import TargetField
from stoker.datasets.records import RawColumn
from stoker.job.dataset import Dataset
from stoker.job.signature import NormalityOutput
from stoker.job.task import Kind

ODD = -1
"""The number of all classes that are not normal."""


@dataclass(frozen=True)
class NormalityField(TargetField):
    """The class of a sample, of which all but the normal ones are anomalies."""

    kind: ClassVar[Kind] = "normality"

    classes: tuple[str, ...]
    """The normal ones."""

    @classmethod
    def fit(cls, name: str, raw: RawColumn, settings: Dataset) -> Self:
        """Take the classes that the job names, or those of the training rows, which are all normal."""
        return cls(name, settings.columns.normal or sorted_classes(as_text(raw)))

    def encode(self, raw: RawColumn) -> Column:
        """Return (N,) int64 numbers of the normal classes, `ODD` for all others."""
        places = {name: place for place, name in enumerate(self.classes)}
        return Dense(torch.from_numpy(np.array([places.get(label, ODD) for label in as_text(raw)], np.int64)))

    @property
    def output(self) -> NormalityOutput:
        """Return the normal classes."""
        return NormalityOutput(self.classes)
