"""The contract of a layout: it makes samples of records, for a network to learn from or to answer."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
import torch

from stoker.datasets.columns import joined
from stoker.datasets.fields.field import InputField, TargetField
from stoker.datasets.fields.inference import Roles
from stoker.datasets.fields.kinds import SHARED
from stoker.datasets.records import Records
from stoker.datasets.samples import Samples
from stoker.job.dataset import Dataset
from stoker.job.signature import BlanksOutput, ContinuationOutput, Output, Signature
from stoker.job.task import Kind


@dataclass(frozen=True)
class Replies:
    """The answers in dialogues."""

    reply: str
    """The column of answers; empty where the dialogues have them."""
    longest: int
    """Most tokens of an answer of the training part, its end included."""


Own = ContinuationOutput | BlanksOutput | Replies
"""What is learnt of a text itself."""


@dataclass(frozen=True)
class Layout(ABC):
    """The fields of a dataset, and how records become samples; by default each record is one."""

    learns: ClassVar[type[Own] | None] = None
    """Class of `own`; None where a column is learnt."""
    joins: ClassVar[bool] = False
    """Whether records are read on one behind the other, and samples are pieces of them."""
    divides: ClassVar[bool] = False
    """Whether a record may become several samples, whose `ids` are then those of the record."""

    inputs: tuple[InputField, ...]
    target: TargetField | None
    own: Own | None = None
    """What is learnt of the only text itself, in place of a target."""

    @classmethod
    @abstractmethod
    def fit(cls, records: Records, roles: Roles, kind: Kind, settings: Dataset) -> Self:
        """Fit all fields to the records of the training part.

        Args:
            records: of the training part.
            roles: of their columns.
            kind: of what is learnt.
            settings: of the job.

        Raises:
            JobError: the records do not fit each other.

        """

    @cached_property
    def groups(self) -> dict[str, tuple[InputField, ...]]:
        """Return the fields behind each tensor of a batch."""
        found: dict[str, tuple[InputField, ...]] = {}
        for each in self.inputs:
            own = f"column {each.name}" if each.name in SHARED else each.name
            name = each.shared or own
            found[name] = (*found.get(name, ()), each)
        return found

    @property
    def output(self) -> Output | None:
        """Return the shape of the network's output."""
        return self.target.output if self.target else None

    @property
    def signature(self) -> Signature:
        """Return the shapes of inputs and output."""
        shapes = {name: type(fields[0]).shape(fields) for name, fields in self.groups.items()}
        return Signature(shapes, self.output)

    @property
    def learnt_columns(self) -> tuple[str, ...]:
        """Return the columns of what is learnt beside those that are read."""
        return (self.target.name,) if self.target else ()

    def encode(self, records: Records, target: bool) -> Samples:
        """Encode records, with what is learnt of them or without; a record of which nothing can be is left out.

        Raises:
            JobError: a value does not fit its field.

        """
        inputs = {
            name: joined([each.encode(records.columns[each.name]) for each in fields])
            for name, fields in self.groups.items()
        }
        encoded = self.target.encode(records.columns[self.target.name]) if target and self.target else None
        return Samples(inputs, encoded, None, torch.arange(len(records)))

    @cached_property
    def prepared(self) -> tuple[tuple[str, InputField], ...]:
        """Return the tensors whose stored values need preparation for the network, with their fields."""
        own = [(name, fields[0]) for name, fields in self.groups.items()]
        return tuple((name, each) for name, each in own if type(each).prepare is not InputField.prepare)

    def gather(self, samples: Samples, index: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the inputs of some rows, prepared for the network."""
        taken = {name: column.take(index) for name, column in samples.inputs.items()}
        for name, each in self.prepared:
            taken[name] = each.prepare(taken[name])
        return taken

    def notes(self, records: Records, parts: np.ndarray) -> Iterator[str]:
        """Yield notes for the user on how the columns were read; `parts` (N,) is the part of each record."""
        for each in (*self.inputs, *([self.target] if self.target else [])):
            yield from each.notes(records.columns[each.name], parts)
