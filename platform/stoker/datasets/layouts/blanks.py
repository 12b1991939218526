"""Texts whose words are hidden: while training by chance, in a prediction those that the text leaves out."""

from dataclasses import dataclass
from typing import ClassVar, Self

import torch

from stoker.datasets.fields.inference import Roles
from stoker.datasets.fields.texts.text import TextField
from stoker.datasets.layouts.columns import fitted_inputs
from stoker.datasets.layouts.layout import Layout, Own
from stoker.datasets.records import Records
from stoker.datasets.samples import Samples
from stoker.job.dataset import Dataset
from stoker.job.signature import BlanksOutput, Output
from stoker.job.task import Kind


@dataclass(frozen=True)
class Blanks(Layout):
    """One text column, whose own words are learnt."""

    learns: ClassVar[type[Own] | None] = BlanksOutput

    @classmethod
    def fit(cls, records: Records, roles: Roles, kind: Kind, settings: Dataset) -> Self:
        """Build the vocabulary."""
        (text,) = inputs = fitted_inputs(records, roles, settings)
        assert isinstance(text, TextField)
        return cls(inputs, None, BlanksOutput(text.tokenizer.size, text.length, text.tokenizer.mask))

    @property
    def output(self) -> Output | None:
        """Return what is learnt of the text."""
        assert isinstance(self.own, BlanksOutput)
        return self.own

    def encode(self, records: Records, target: bool) -> Samples:
        """Encode texts; those to predict have the token of a hidden word for each blank.

        Raises:
            JobError: a text to predict has no blank.

        """
        if target:
            return super().encode(records, target)
        (text,) = self.inputs
        assert isinstance(text, TextField)
        column = text.encode_blanks(records.columns[text.name])
        return Samples({text.name: column}, None, None, torch.arange(len(records)))
