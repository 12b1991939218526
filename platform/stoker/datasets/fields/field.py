"""The contract of a field: what a column of a sample is, and how it becomes numbers and comes back."""

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
    """A fitted column: everything it has learnt comes from the training part, and is saved with the model."""

    kind: ClassVar[Kind]

    name: str
    """The column."""

    @classmethod
    @abstractmethod
    def fit(cls, name: str, raw: RawColumn, settings: Dataset) -> Self:
        """Learn from the training rows."""

    @abstractmethod
    def encode(self, raw: RawColumn) -> Column:
        """Encode raw values, of whichever rows.

        Raises:
            JobError: a value is not what the field takes.

        """

    def notes(self, raw: RawColumn, parts: np.ndarray) -> Iterator[str]:
        """Say what a user should know of how the column was read; `parts` is the part of each of its (N,) rows."""
        yield from ()

    def assets(self) -> dict[str, str]:
        """Return the files that belong to the field and go into the model, by name."""
        return {}

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without what is in `assets`."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any], assets: Mapping[str, str]) -> Self:
        """Rebuild a field from `to_json` and `assets`; lists become tuples again."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
        return cls(**values)


@dataclass(frozen=True)
class InputField(Field):
    """A column that the network learns from."""

    shared: ClassVar[str] = ""
    """Name of the tensor that all fields of the kind share; empty where each column is a tensor of its own name."""

    @classmethod
    @abstractmethod
    def shape(cls, fields: Sequence[Self]) -> Input:
        """Return what the network sees of the fields that share a tensor."""

    def ready(self, taken: Tensor) -> Tensor:
        """Turn stored values of a batch (B, ...) into what the network sees."""
        return taken


@dataclass(frozen=True)
class TargetField(Field):
    """The column that is learnt."""

    @property
    @abstractmethod
    def output(self) -> Output:
        """Return what the network answers with."""
