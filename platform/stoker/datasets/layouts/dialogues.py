"""Dialogues, of which the answers are learnt: each is a sample, or its last turns where it is too long."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import torch

from stoker.datasets.columns import Column, Ragged
from stoker.datasets.dialogues.messages import Dialogue, Message, answered, asked, read_dialogues, without_oldest
from stoker.datasets.fields.inference import Roles
from stoker.datasets.fields.lists import row_of
from stoker.datasets.fields.texts.dialogue import DialogueField, Rendered
from stoker.datasets.fields.texts.text_lists import first_texts
from stoker.datasets.layouts.layout import Layout, Own, Replies
from stoker.datasets.records import Records
from stoker.datasets.samples import Samples
from stoker.datasets.tokens.tokenizer import PADDING
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset
from stoker.job.signature import ContinuationOutput, Output
from stoker.job.task import Kind

LENGTH = "dataset.text.length"
LABEL = "dataset.columns.label"


@dataclass(frozen=True)
class Fitted:
    """A dialogue that fits the length."""

    rendered: Rendered
    whole: int
    """Tokens of all turns."""
    kept: int
    """Tokens of the turns that are kept; those beyond the length are cut off."""


@dataclass(frozen=True)
class Dialogues(Layout):
    """A column of messages, or one of questions beside one of answers."""

    learns: ClassVar[type[Own] | None] = Replies

    @classmethod
    def fit(cls, records: Records, roles: Roles, kind: Kind, settings: Dataset) -> Self:
        """Build the vocabulary, and measure the answers.

        Raises:
            JobError: no dialogue has an answer within the length.

        """
        (name,) = roles.inputs
        dialogues = _dialogues(records, name, roles.target)
        field = DialogueField.fit_with(name, dialogues, settings)
        layout = cls((field,), None, Replies(roles.target, 0))
        longest = [_longest(each.rendered.learnt) for each in layout._fitted(records)]
        if not any(longest):
            message = f"{field.length} tokens hold no training dialogue up to its answer: there is nothing to learn"
            raise JobError([Problem(LENGTH, f"{message}; raise it")])
        return cls((field,), None, Replies(roles.target, max(longest)))

    @property
    def field(self) -> DialogueField:
        """Return the column of dialogues."""
        (field,) = self.inputs
        assert isinstance(field, DialogueField)
        return field

    @property
    def replies(self) -> Replies:
        """Return what is learnt."""
        assert isinstance(self.own, Replies)
        return self.own

    @property
    def output(self) -> Output | None:
        """Return that of a text to continue: a sample is one dialogue, whose turns see those before them."""
        return ContinuationOutput(self.field.tokenizer.size, borders=False)

    @property
    def learnt_columns(self) -> tuple[str, ...]:
        """Return the column of answers, if there is one."""
        return (self.replies.reply,) if self.replies.reply else ()

    def encode(self, records: Records, target: bool) -> Samples:
        """Encode dialogues with what follows each token, where it belongs to an answer; or as what is to be answered.

        Raises:
            JobError: a message is not as it has to be, or the chat template refuses a dialogue.

        """
        if not target:
            return super().encode(records, target)
        inputs, targets, ids, lengths = [], [], [], []
        for row, each in enumerate(self._fitted(records)):
            numbers, learnt = each.rendered.numbers, each.rendered.learnt
            if learnt[1:].any():
                inputs.append(numbers[:-1])
                targets.append(np.where(learnt[1:], numbers[1:], PADDING))
                ids.append(row)
                lengths.append((each.whole, each.kept))
        whole = torch.tensor(lengths, dtype=torch.int32).reshape(-1, 2)
        read: dict[str, Column] = {self.field.name: replace(Ragged.of(inputs), whole=whole)}
        return Samples(read, Ragged.of(targets), None, torch.tensor(ids, dtype=torch.int64))

    def prompts(self, records: Records) -> list[Dialogue]:
        """Return dialogues to answer: up to the last message that is no answer.

        Raises:
            JobError: a message is not as it has to be.

        """
        column = records.columns[self.field.name]
        return [asked(each) for each in read_dialogues(column, self.field.name, plain=True, path="")]

    def prompt(self, dialogue: Dialogue) -> np.ndarray:
        """Return the tokens of a dialogue to answer, without its oldest turns where it leaves too little room.

        Raises:
            ValueError: the chat template refuses it.

        """
        return self.field.prompt(dialogue, min(self.replies.longest, self.field.length // 2))

    def _fitted(self, records: Records) -> Iterator[Fitted]:
        """Yield the dialogues of records with their answers.

        Raises:
            JobError: a message is not as it has to be, or the chat template refuses a dialogue.

        """
        column = records.columns[self.field.name]
        for row, dialogue in enumerate(_dialogues(records, self.field.name, self.replies.reply)):
            try:
                yield self._within(answered(dialogue))
            except ValueError as error:
                raise JobError([Problem("dataset.source", f"row {row_of(column, row)}: {error}")]) from error

    def _within(self, dialogue: Dialogue) -> Fitted:
        """Leave out the oldest turns of a dialogue until it fits, then cut off the last one."""
        most = self.field.length + 1  # the last token is only learnt
        rendered = whole = self.field.rendered(dialogue, False)
        while len(rendered.numbers) > most and (shorter := without_oldest(dialogue)):
            dialogue = shorter
            rendered = self.field.rendered(dialogue, False)
        return Fitted(rendered.cut(most), len(whole.numbers), len(rendered.numbers))

    def notes(self, records: Records, parts: np.ndarray, encoded: Mapping[str, Samples]) -> Iterator[str]:
        """Yield notes on the training dialogues that are longer than the length."""
        column = encoded["train"].inputs[self.field.name]
        assert isinstance(column, Ragged)
        assert column.whole is not None
        whole, kept = column.whole.unbind(1)
        count = int((parts == "train").sum())
        of_all = f"of {count:,} training dialogues"
        about = f"column '{self.field.name}':"
        limit = f"{self.field.length} {self.field.tokenizer.unit} ({LENGTH})"
        shortened, cut = int((kept < whole).sum()), int((kept > self.field.length + 1).sum())
        lost = count - len(column)
        if shortened:
            yield f"{about} {shortened:,} {of_all} are learnt without their oldest turns, to fit {limit}"
        if cut:
            yield f"{about} {cut:,} {of_all} are cut off in their last turn, at {limit}"
        if lost:
            yield f"{about} {lost:,} {of_all} are left out: no answer begins within {limit}"


def check_dialogues(records: Records, roles: Roles) -> None:
    """Check all dialogues of records, before anything is fitted to them.

    Raises:
        JobError: a message is not as it has to be, or a dialogue has no answer.

    """
    for name, kind in roles.inputs.items():
        if kind == "dialogue":
            for row, each in enumerate(_dialogues(records, name, roles.target)):
                try:
                    answered(each)
                except ValueError as error:
                    place = f"row {row_of(records.columns[name], row)}"
                    raise JobError([Problem("dataset.source", f"{place}: {error}")]) from error


def _dialogues(records: Records, name: str, reply: str) -> list[Dialogue]:
    """Read the dialogues of records, with the answer of another column at the end, where there is one."""
    dialogues = read_dialogues(records.columns[name], name, plain=bool(reply))
    if not reply:
        return dialogues
    found = []
    column = records.columns[reply]
    for row, (dialogue, text) in enumerate(zip(dialogues, first_texts(column), strict=True)):
        if not text.strip():
            message = f"row {row_of(column, row)}: there is no answer in column '{reply}'; write it, or remove the row"
            raise JobError([Problem(LABEL, message)])
        found.append((*asked(dialogue), Message("assistant", text)))
    return found


def _longest(learnt: np.ndarray) -> int:
    """Return the length of the longest answer."""
    borders = np.flatnonzero(np.diff(np.concatenate([[0], learnt.astype(np.int8), [0]])))
    return int((borders[1::2] - borders[::2]).max(initial=0))
