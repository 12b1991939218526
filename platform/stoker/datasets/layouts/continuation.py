"""Texts that are continued: samples are windows over texts that follow one another."""

from dataclasses import dataclass
from typing import ClassVar, Self

import torch

from stoker.datasets.fields.inference import Roles
from stoker.datasets.fields.texts.text import TextField
from stoker.datasets.layouts.columns import fitted_inputs
from stoker.datasets.layouts.layout import Layout, Own
from stoker.datasets.records import Records
from stoker.datasets.samples import Samples
from stoker.datasets.windows.documents import windows
from stoker.job.dataset import Dataset
from stoker.job.signature import ContinuationOutput, Output
from stoker.job.task import Kind


@dataclass(frozen=True)
class Continuation(Layout):
    """One text column, of which what follows each token is learnt."""

    learns: ClassVar[type[Own] | None] = ContinuationOutput
    joins: ClassVar[bool] = True

    @classmethod
    def fit(cls, records: Records, roles: Roles, kind: Kind, settings: Dataset) -> Self:
        """Build the vocabulary."""
        (text,) = inputs = fitted_inputs(records, roles, settings)
        assert isinstance(text, TextField)
        return cls(inputs, None, ContinuationOutput(text.tokenizer.size, borders=len(records) > 1))

    @property
    def output(self) -> Output | None:
        """Return what is learnt of the text."""
        assert isinstance(self.own, ContinuationOutput)
        return self.own

    def encode(self, records: Records, target: bool) -> Samples:
        """Encode windows to learn from; to predict, each text alone."""
        if not target:
            return super().encode(records, target)
        (text,) = self.inputs
        assert isinstance(text, TextField)
        taken, following = windows(text.stream(records.columns[text.name]), text.length)
        return Samples({text.name: taken}, following, None, torch.arange(len(taken)))
