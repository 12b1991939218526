"""The contract of a field: it fits a column, encodes its values, and decodes predictions."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
from torch import Tensor

from stoker.datasets.columns import Column
from stoker.datasets.records import RawColumn
from stoker.job.dataset import Dataset
from stoker.job.signature import Input, Output
from stoker.job.task import Kind


@dataclass(frozen=True)
class Field(ABC):
    """A fitted column: its statistics come from the training part, and are saved with the model."""

    kind: ClassVar[Kind]

    name: str
    """The column."""

    @classmethod
    @abstractmethod
    def fit(cls, name: str, raw: RawColumn, settings: Dataset) -> Self:
        """Fit the field to the training rows."""

    @abstractmethod
    def encode(self, raw: RawColumn) -> Column:
        """Encode raw values of any rows.

        Raises:
            JobError: a value does not fit the field.

        """

    def notes(self, raw: RawColumn, parts: np.ndarray) -> Iterator[str]:
        """Yield notes for the user on how the column was read; `parts` (N,) is the part of each row."""
        yield from ()

    def assets(self) -> dict[str, str]:
        """Return the field's files that are saved with the model, by name."""
        return {}

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without the content of `assets`."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any], assets: Mapping[str, str]) -> Self:
        """Rebuild a field from `to_json` and `assets`; lists become tuples again."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
        return cls(**values)


@dataclass(frozen=True)
class InputField(Field):
    """An input column."""

    shared: ClassVar[str] = ""
    """Name of the tensor that all fields of the kind share; empty if each column is its own tensor."""

    @classmethod
    @abstractmethod
    def shape(cls, fields: Sequence[Self]) -> Input:
        """Return the shape of the network's input for the fields that share a tensor."""

    def prepare(self, taken: Tensor) -> Tensor:
        """Prepare the stored values of a batch (B, ...) for the network."""
        return taken


@dataclass(frozen=True)
class TargetField(Field):
    """The column to predict."""

    @property
    @abstractmethod
    def output(self) -> Output:
        """Return the shape of the network's output."""
