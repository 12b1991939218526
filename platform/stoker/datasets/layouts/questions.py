"""Questions with the texts that answer them: a sample is a sequence of both, of which a long text has several."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Self

import pandas as pd
import torch

from stoker.datasets.fields.category import as_text
from stoker.datasets.fields.inference import Roles
from stoker.datasets.fields.texts.answer import AnswerField
from stoker.datasets.fields.texts.text import TextField
from stoker.datasets.layouts.layout import Layout
from stoker.datasets.records import Records
from stoker.datasets.samples import Samples
from stoker.datasets.windows.passages import Passages
from stoker.job.dataset import Dataset
from stoker.job.signature import PAIR, Signature
from stoker.job.task import Kind


@dataclass(frozen=True)
class Questions(Layout):
    """A column of questions, one of texts, and one of answers in these."""

    divides: ClassVar[bool] = True

    @classmethod
    def fit(cls, records: Records, roles: Roles, kind: Kind, settings: Dataset) -> Self:
        """Build one vocabulary.

        Raises:
            JobError: a sequence has no room for both, or no row has an answer.

        """
        question, context = roles.inputs
        texts = [text for name in (context, question) for text in pd.unique(as_text(records.columns[name])) if text]
        fitted = TextField.fit(question, pd.Series(texts, dtype=object), settings)
        fields = (fitted, replace(fitted, name=context))
        Passages(*fields).room  # noqa: B018  # it raises
        answers = AnswerField.fit_with(roles.target, records.columns[roles.target], fitted.tokenizer)
        return cls(fields, answers)

    @cached_property
    def passages(self) -> Passages:
        """Return the questions with their texts."""
        question, context = self.inputs
        assert isinstance(question, TextField)
        assert isinstance(context, TextField)
        return Passages(question, context)

    @property
    def signature(self) -> Signature:
        """Return the shapes of a sequence and of an answer."""
        return Signature({PAIR: self.passages.shape}, self.output)

    def encode(self, records: Records, target: bool) -> Samples:
        """Encode each question with its text, as one sample or several.

        Raises:
            JobError: an answer is no part of its text.

        """
        answers = self.target if target and isinstance(self.target, AnswerField) else None
        return self.passages.encode(records, answers)

    def gather(self, samples: Samples, index: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return sequences as int64, of which less is stored."""
        return {PAIR: samples.inputs[PAIR].take(index).long()}
