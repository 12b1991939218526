"""All fields of a dataset: fitted on the training part, applied to every part and by the model."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import pandas as pd
import torch

from stoker.datasets.columns import joined
from stoker.datasets.fields.category import CategoryField, ClassField, as_text
from stoker.datasets.fields.field import InputField, TargetField
from stoker.datasets.fields.image import ImageField
from stoker.datasets.fields.inference import Roles
from stoker.datasets.fields.mask import MaskField
from stoker.datasets.fields.number import NumberField, ValueField, as_numbers
from stoker.datasets.fields.tags import TagsField
from stoker.datasets.fields.texts.answer import AnswerField
from stoker.datasets.fields.texts.target_text import TargetTextField
from stoker.datasets.fields.texts.text import TextField
from stoker.datasets.fields.texts.text_lists import joined_texts
from stoker.datasets.fields.texts.text_sizes import require_texts
from stoker.datasets.fields.texts.word_tags import WordTagsField, check_lengths
from stoker.datasets.fields.texts.words import WordsField
from stoker.datasets.fields.time import TimeField
from stoker.datasets.records import Records
from stoker.datasets.samples import Samples
from stoker.datasets.windows.documents import windows
from stoker.datasets.windows.passages import Passages
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset
from stoker.job.signature import PAIR, WRITTEN, BlanksOutput, ContinuationOutput, Signature
from stoker.job.task import Kind

INPUT_FIELDS: dict[Kind, type[InputField]] = {
    "number": NumberField,
    "time": TimeField,
    "category": CategoryField,
    "text": TextField,
    "image": ImageField,
    "words": WordsField,
}
TARGET_FIELDS: dict[Kind, type[TargetField]] = {
    "category": ClassField,
    "number": ValueField,
    "mask": MaskField,
    "tags": TagsField,
    "word-tags": WordTagsField,
    "text": TargetTextField,
    "answer": AnswerField,
}

OWN: dict[str, type[ContinuationOutput] | type[BlanksOutput]] = {
    kind.__name__: kind for kind in (ContinuationOutput, BlanksOutput)
}
"""What may be learnt of a text itself, by the name in fields.json."""
SHARED = frozenset({*(kind.shared for kind in INPUT_FIELDS.values()), WRITTEN})
"""Names of tensors that a column of this name must not take."""


@dataclass(frozen=True)
class Fields:
    """Encodes raw records as tensors, and decodes predictions."""

    inputs: tuple[InputField, ...]
    target: TargetField | None
    own: ContinuationOutput | BlanksOutput | None = None
    """What is learnt of the only text itself, in place of a target."""

    @staticmethod
    def fit(records: Records, roles: Roles, target: Kind, settings: Dataset) -> "Fields":
        """Fit all fields to the records of the training part.

        Raises:
            JobError: masks are invalid or differ in size from their images, or all texts are empty.

        """
        for name, kind in roles.inputs.items():
            if kind in ("text", "words"):
                require_texts("dataset.columns.features", name, records.columns[name])
        if target == "text":
            require_texts("dataset.columns.label", roles.target, records.columns[roles.target])
        if target == "text":
            return _with_one_vocabulary(records, roles, settings)
        if target == "answer":
            return _with_passages(records, roles, settings)
        inputs = tuple(
            INPUT_FIELDS[kind].fit(name, records.columns[name], settings) for name, kind in roles.inputs.items()
        )
        if target == "continuation":
            (text,) = inputs
            assert isinstance(text, TextField)
            return Fields(inputs, None, ContinuationOutput(text.tokenizer.size, borders=len(records) > 1))
        if target == "blanks":
            (text,) = inputs
            assert isinstance(text, TextField)
            return Fields(inputs, None, BlanksOutput(text.tokenizer.size, text.length))
        if not roles.target:
            return Fields(inputs, None)
        fitted = TARGET_FIELDS[target].fit(roles.target, records.columns[roles.target], settings)
        if isinstance(fitted, MaskField):
            _check_sizes(fitted, inputs)
        return Fields(inputs, fitted)

    @cached_property
    def groups(self) -> dict[str, tuple[InputField, ...]]:
        """Return the fields behind each tensor of a batch."""
        found: dict[str, tuple[InputField, ...]] = {}
        for each in self.inputs:
            own = f"column {each.name}" if each.name in SHARED else each.name
            name = each.shared or own
            found[name] = (*found.get(name, ()), each)
        return found

    @cached_property
    def passages(self) -> Passages | None:
        """Return the questions with their texts, which may be several samples each; None for other data."""
        if not isinstance(self.target, AnswerField):
            return None
        question, context = self.inputs
        assert isinstance(question, TextField)
        assert isinstance(context, TextField)
        return Passages(question, context)

    @cached_property
    def signature(self) -> Signature:
        """Return the shapes of inputs and output."""
        if self.passages and self.target:
            return Signature({PAIR: self.passages.shape}, self.target.output)
        shapes = {name: type(fields[0]).shape(fields) for name, fields in self.groups.items()}
        return Signature(shapes, self.target.output if self.target else self.own)

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns that a prediction needs."""
        return tuple(each.name for each in self.inputs)

    def encode(self, records: Records, target: bool = True, weight: str | None = None) -> Samples:
        """Encode records; where a continuation is learnt, as windows over texts that follow one another.

        A question with its text may become several samples, whose `ids` are then those of its record.

        Args:
            records: with all of `columns`.
            target: whether to encode the target, too.
            weight: the column with the weight of each sample.

        Raises:
            JobError: a value does not fit its field, or a sentence has not as many tags as words.

        """
        if target and isinstance(self.target, WordTagsField):
            check_lengths(records.columns[self.words.name], records.columns[self.target.name], self.target.name)
        if target and self.continued:
            text = self.text
            taken, following = windows(text.stream(records.columns[text.name]), text.length)
            return Samples({text.name: taken}, following, None, torch.arange(len(taken)))
        if not target and isinstance(self.own, BlanksOutput):
            return Samples(
                {self.text.name: self.text.encode_blanks(records.columns[self.text.name])},
                None,
                None,
                torch.arange(len(records)),
            )
        weights = torch.from_numpy(as_weights(records, weight)) if weight else None
        if self.passages:
            answers = self.target if target and isinstance(self.target, AnswerField) else None
            samples = self.passages.encode(records, answers)
            return samples if weights is None else replace(samples, weight=weights[samples.ids])
        inputs = {
            name: joined([each.encode(records.columns[each.name]) for each in fields])
            for name, fields in self.groups.items()
        }
        encoded = self.target.encode(records.columns[self.target.name]) if target and self.target else None
        return Samples(inputs, encoded, weights, torch.arange(len(records)))

    @cached_property
    def prepared(self) -> tuple[tuple[str, InputField], ...]:
        """Return the tensors whose stored values need preparation for the network, with their fields."""
        own = [(name, fields[0]) for name, fields in self.groups.items()]
        return tuple((name, each) for name, each in own if type(each).prepare is not InputField.prepare)

    @property
    def continued(self) -> ContinuationOutput | None:
        """Return what is learnt of texts that are continued; None of all others."""
        return self.own if isinstance(self.own, ContinuationOutput) else None

    def gather(self, samples: Samples, index: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the inputs of some rows, prepared for the network."""
        taken = {name: column.take(index) for name, column in samples.inputs.items()}
        for name, each in self.prepared:
            taken[name] = each.prepare(taken[name])
        if self.passages:
            taken[PAIR] = taken[PAIR].long()
        return taken

    def check(self, records: Records, *others: str) -> None:
        """Check that records have all of `columns` and `others`.

        Raises:
            JobError: some are missing.

        """
        if missing := [name for name in (*others, *self.columns) if name not in records.columns]:
            there = ", ".join(records.columns)
            raise JobError([Problem("", f"the input lacks the columns {', '.join(missing)} (it has: {there})")])

    @property
    def image(self) -> ImageField:
        """Return the only image field."""
        (found,) = [each for each in self.inputs if isinstance(each, ImageField)]
        return found

    @property
    def text(self) -> TextField:
        """Return the only text field."""
        (found,) = [each for each in self.inputs if isinstance(each, TextField)]
        return found

    @property
    def words(self) -> WordsField:
        """Return the only field of words."""
        (found,) = [each for each in self.inputs if isinstance(each, WordsField)]
        return found

    def assets(self) -> dict[str, str]:
        """Return the files of all fields."""
        fields = (*self.inputs, *([self.target] if self.target else []))
        return {name: text for each in fields for name, text in each.assets().items()}

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values, without `assets`."""
        return {
            "inputs": [{"kind": each.kind, **each.to_json()} for each in self.inputs],
            "target": {"kind": self.target.kind, **self.target.to_json()} if self.target else None,
            "own": {"kind": type(self.own).__name__, **asdict(self.own)} if self.own else None,
        }

    @staticmethod
    def from_json(content: Mapping[str, Any], assets: Mapping[str, str]) -> "Fields":
        """Rebuild fields from `to_json` and `assets`."""
        inputs = []
        for each in map(dict, content["inputs"]):
            inputs.append(INPUT_FIELDS[cast("Kind", each.pop("kind"))].from_json(each, assets))
        if content["target"] is None:
            own = dict(content.get("own") or {})
            kind = OWN.get(own.pop("kind", ""))
            return Fields(tuple(inputs), None, kind(**own) if kind else None)
        target = dict(content["target"])
        return Fields(tuple(inputs), TARGET_FIELDS[cast("Kind", target.pop("kind"))].from_json(target, assets))


def _with_one_vocabulary(records: Records, roles: Roles, settings: Dataset) -> Fields:
    """Fit texts and what is written from them with one vocabulary: they have names, numbers and words in common."""
    sources = [text for name in roles.inputs for text in joined_texts(records.columns[name])]
    target = TargetTextField.fit_with(roles.target, records.columns[roles.target], sources, settings)
    fields = [TextField(name, target.tokens, target.vocabulary, target.length, target.long) for name in roles.inputs]
    return Fields(tuple(fields), target)


def _with_passages(records: Records, roles: Roles, settings: Dataset) -> Fields:
    """Fit questions and the texts that answer them with one vocabulary.

    Raises:
        JobError: a sequence has no room for both, or no row has an answer.

    """
    question, context = roles.inputs
    texts = [text for name in (context, question) for text in pd.unique(as_text(records.columns[name])) if text]
    fitted = TextField.fit(question, pd.Series(texts, dtype=object), settings)
    fields = (fitted, replace(fitted, name=context))
    Passages(*fields).room  # noqa: B018  # it raises
    answers = AnswerField.fit_with(roles.target, records.columns[roles.target], fitted.tokenizer)
    return Fields(fields, answers)


def _check_sizes(mask: MaskField, inputs: tuple[InputField, ...]) -> None:
    for image in inputs:
        if isinstance(image, ImageField) and (image.height, image.width) != (mask.height, mask.width):
            size = f"{image.height}x{image.width}"
            message = f"the masks are {mask.height}x{mask.width}, the images of column '{image.name}' {size}"
            raise JobError([Problem("dataset.source", message)])


def as_weights(records: Records, name: str) -> np.ndarray:
    """Read a column as (N,) float32 weights.

    Raises:
        JobError: a weight is missing or below 0.

    """
    column = records.columns[name]
    values = as_numbers(column)
    bad = np.flatnonzero(~(values >= 0))
    if len(bad):
        first = int(bad[0])
        value = records.frame[name].iloc[first]
        message = f"'{value}' in column '{name}', row {first + 1}, is not a weight of 0 or more"
        raise JobError([Problem("dataset.columns.weight", message)])
    return values.astype(np.float32)
