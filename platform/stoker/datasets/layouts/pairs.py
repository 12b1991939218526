"""Texts, and what is written from them, with one vocabulary: they have names, numbers and words in common."""

from dataclasses import dataclass
from typing import Self

from stoker.datasets.fields.inference import Roles
from stoker.datasets.fields.texts.target_text import TargetTextField
from stoker.datasets.fields.texts.text import TextField
from stoker.datasets.fields.texts.text_lists import joined_texts
from stoker.datasets.layouts.layout import Layout
from stoker.datasets.records import Records
from stoker.job.dataset import Dataset
from stoker.job.task import Kind


@dataclass(frozen=True)
class Pairs(Layout):
    """Columns of texts that are read, and one of texts that are written."""

    @classmethod
    def fit(cls, records: Records, roles: Roles, kind: Kind, settings: Dataset) -> Self:
        """Build one vocabulary, or take that of a pretrained model."""
        prefix = settings.text.prefix
        sources = [prefix + text for name in roles.inputs for text in joined_texts(records.columns[name])]
        target = TargetTextField.fit_with(roles.target, records.columns[roles.target], sources, settings)
        given = target.tokens, target.vocabulary, target.length, target.long, prefix
        return cls(tuple(TextField(name, *given) for name in roles.inputs), target)
