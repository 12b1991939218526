"""Texts, and what is written from them, with one vocabulary: they have names, numbers and words in common.

A text may be written of an image, too, which has no words.
"""

from dataclasses import dataclass
from typing import Self

from stoker.datasets.fields.inference import Roles
from stoker.datasets.fields.kinds import INPUT_FIELDS
from stoker.datasets.fields.texts.target_text import TargetTextField
from stoker.datasets.fields.texts.text import TextField
from stoker.datasets.fields.texts.text_lists import joined_texts
from stoker.datasets.layouts.layout import Layout
from stoker.datasets.records import Records
from stoker.job.dataset import Dataset
from stoker.job.task import Kind


@dataclass(frozen=True)
class Pairs(Layout):
    """Columns of texts or images that are read, and one of texts that are written."""

    @classmethod
    def fit(cls, records: Records, roles: Roles, kind: Kind, settings: Dataset) -> Self:
        """Build one vocabulary, or take that of a pretrained model."""
        prefix = settings.text.prefix
        read = [name for name, each in roles.inputs.items() if each == "text"]
        sources = [prefix + text for name in read for text in joined_texts(records.columns[name])]
        target = TargetTextField.fit_with(roles.target, records.columns[roles.target], sources, settings)
        given = target.tokens, target.vocabulary, target.length, target.long, prefix
        inputs = tuple(
            TextField(name, *given) if each == "text" else INPUT_FIELDS[each].fit(name, records.columns[name], settings)
            for name, each in roles.inputs.items()
        )
        return cls(inputs, target)
