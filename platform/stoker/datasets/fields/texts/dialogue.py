"""Dialogues, written by a chat template as one sequence of tokens."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from stoker.datasets.columns import Column, Ragged
from stoker.datasets.dialogues.messages import Dialogue, asked, contents, read_dialogues, without_oldest
from stoker.datasets.dialogues.templates import (
    ChatTemplate,
    HeadedTemplate,
    MarkedTemplate,
    ModelTemplate,
    Piece,
    flat,
    from_asset,
)
from stoker.datasets.fields.field import InputField
from stoker.datasets.fields.texts.text import TOKENIZER_KEY, TextField, asset_name, saved_text
from stoker.datasets.model_files import chat_template, end_number
from stoker.datasets.records import RawColumn
from stoker.datasets.tokens.kinds import TokenizerKind, tokenizer_class
from stoker.datasets.tokens.tokenizer import END, MASK, PADDING, SPECIAL, Tokenizer
from stoker.job.dataset import Dataset
from stoker.job.saved_model import ASSETS, FIELDS
from stoker.job.signature import TextInput
from stoker.job.task import Kind


@dataclass(frozen=True)
class Rendered:
    """A dialogue as tokens."""

    numbers: np.ndarray
    """(n,) int64."""
    learnt: np.ndarray
    """(n,) whether each is a part of an answer."""

    def cut(self, length: int) -> "Rendered":
        """Return the first tokens."""
        return Rendered(self.numbers[:length], self.learnt[:length])


@dataclass(frozen=True)
class DialogueField(InputField):
    """A column of dialogues as token numbers."""

    kind: ClassVar[Kind] = "dialogue"

    tokens: TokenizerKind
    """What a text is cut into."""
    vocabulary: str
    """The tokenizer, as the content of its file."""
    length: int
    """Most tokens that a network reads of a dialogue."""
    template: str
    """The chat template, as the content of its file."""
    end: int = -1
    """The number of the model's own end of a text, which END stands for; -1 if there is none."""

    @classmethod
    def fit(cls, name: str, raw: RawColumn, settings: Dataset) -> Self:
        """Build the vocabulary of what is said in the training rows, or take that of a model, with its template."""
        return cls.fit_with(name, read_dialogues(raw, name, plain=True), settings)

    @classmethod
    def fit_with(cls, name: str, dialogues: Sequence[Dialogue], settings: Dataset) -> Self:
        """Build the vocabulary of some dialogues."""
        texts = pd.Series(list(contents(dialogues)), dtype=object)
        text = TextField.fit(name, texts, settings)
        template, end = _template(settings.text.tokenizer, text)
        return cls(name, text.tokens, text.vocabulary, text.length, template.asset(), end)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer."""
        return tokenizer_class(self.tokens).from_asset(self.vocabulary)

    @cached_property
    def chat(self) -> ChatTemplate:
        """Return the template."""
        return from_asset(self.template)

    @cached_property
    def ends(self) -> frozenset[int]:
        """Return the tokens that end an answer."""
        further = self._numbers(list(self.chat.ends)).values()
        return frozenset({END, *(int(numbers[0]) for numbers in further if len(numbers) == 1)})

    def rendered(self, dialogue: Dialogue, answering: bool) -> Rendered:
        """Return a dialogue as tokens; raises ValueError where the template refuses it."""
        pieces = self.chat.pieces(dialogue, answering)
        known = self._numbers(flat(pieces))
        parts = [self._of(each, known) for each in pieces]
        learnt = [np.full(len(part), each.learnt) for part, each in zip(parts, pieces, strict=True)]
        return Rendered(np.concatenate(parts).astype(np.int64), np.concatenate(learnt))

    def prompt(self, dialogue: Dialogue, room: int) -> np.ndarray:
        """Return the tokens before an answer, of as many of the last turns as leave room for it; at least of the last.

        Args:
            dialogue: that is to be answered.
            room: tokens of the answer.

        """
        most = max(self.length - room, 1)
        found = self.rendered(dialogue, True)
        while len(found.numbers) > most and (shorter := without_oldest(dialogue)):
            dialogue = shorter
            found = self.rendered(dialogue, True)
        return found.numbers[-self.length :]

    def encode(self, raw: RawColumn) -> Column:
        """Return the tokens before the answer to each dialogue."""
        return Ragged.of([self.prompt(asked(each), 0) for each in read_dialogues(raw, self.name, plain=True)])

    @classmethod
    def shape(cls, fields: Sequence[Self]) -> TextInput:
        """Return the size of the vocabulary and the maximum length."""
        (field,) = fields
        return TextInput(field.tokenizer.size, field.length)

    def answer(self, numbers: Sequence[int]) -> str:
        """Return the text of some tokens, until one ends the answer."""
        ends = [place for place, number in enumerate(numbers) if number in self.ends or number == PADDING]
        return self.tokenizer.decode(list(numbers)[: ends[0] if ends else len(numbers)]).strip()

    def text(self, numbers: Sequence[int]) -> str:
        """Return a sequence as people read it; where MASK says who speaks, by the role's name."""
        roles = {len(marks): role for role, marks in MarkedTemplate.MARKS.items()}
        parts: list[str] = []
        pending: list[int] = []
        marks = 0
        for number in [*(n for n in numbers if n != PADDING), MASK]:
            if number != MASK and marks:
                parts += [self.tokenizer.decode(pending).strip(), f"\n{roles.get(marks, '')}: "]
                pending, marks = [], 0
            if number == MASK:
                marks += 1
            else:
                pending.append(number)
        parts.append(self.tokenizer.decode(pending))
        if marks > 1:
            parts.append(f"\n{roles.get(marks - 1, '')}:")
        return "".join(parts).strip()

    def assets(self) -> dict[str, str]:
        """Return vocabulary and template."""
        return {asset_name(self.name): self.vocabulary, _template_name(self.name): self.template}

    def to_json(self) -> dict[str, Any]:
        """Return plain values without vocabulary and template."""
        return {"name": self.name, "tokens": self.tokens, "length": self.length, "end": self.end}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], assets: Mapping[str, str]) -> Self:
        """Rebuild the field from plain values, vocabulary and template."""
        name = content["name"]
        vocabulary, template = assets[asset_name(name)], assets[_template_name(name)]
        return cls(name, content["tokens"], vocabulary, content["length"], template, content["end"])

    def _of(self, piece: Piece, known: Mapping[str, np.ndarray]) -> np.ndarray:
        return known[piece.content] if isinstance(piece.content, str) else np.array(piece.content, np.int64)

    def _numbers(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the tokens of each text, with END for the model's own end of a text."""
        different = list(dict.fromkeys(texts))
        encoded = self.tokenizer.encode(different)
        return {
            text: np.where(numbers == self.end, END, numbers) for text, numbers in zip(different, encoded, strict=True)
        }


def _template(model: str | None, text: TextField) -> tuple[ChatTemplate, int]:
    """Return the template of a model that texts are cut by, or the default one, and the number of its end of a text."""
    if text.tokens != "pretrained":
        return MarkedTemplate(), -1
    assert model is not None
    if saved_text(Path(model)):
        saved = _saved_dialogue(Path(model))
        return (from_asset(saved[0]), saved[1]) if saved else (_headed(text), -1)
    end = end_number(model, TOKENIZER_KEY)
    number = -1 if end is None else end + SPECIAL
    if found := chat_template(model, TOKENIZER_KEY):
        return ModelTemplate(*found), number
    return _headed(text), number


def _headed(text: TextField) -> HeadedTemplate:
    before, _ = text.tokenizer.around
    return HeadedTemplate(tuple(before) or (END,))


def _saved_dialogue(model: Path) -> tuple[str, int] | None:
    """Return the template of a saved model of dialogues, and its end of a text."""
    inputs = json.loads((model / FIELDS).read_text(encoding="utf-8"))["inputs"]
    found = [each for each in inputs if each["kind"] == "dialogue"]
    if not found:
        return None
    return (model / ASSETS / _template_name(found[0]["name"])).read_text(encoding="utf-8"), found[0]["end"]


def _template_name(column: str) -> str:
    return f"template.{asset_name(column)}".replace("vocabulary.txt", "json")
