"""Answers to find in a text: parts of it, or none."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch

from stoker.datasets.columns import Column, Ragged
from stoker.datasets.fields.category import as_text
from stoker.datasets.fields.field import TargetField
from stoker.datasets.fields.lists import row_of
from stoker.datasets.fields.texts.text import TextField
from stoker.datasets.records import RawColumn
from stoker.datasets.tokens.tokenizer import Tokenizer
from stoker.datasets.windows.answer_windows import packed_texts
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset
from stoker.job.signature import SpanOutput
from stoker.job.task import Kind

START = "answer_start"
"""The column, or the key, with the place of an answer's first character, counted from 0."""
MARGIN = 2
"""Tokens that an answer may have more in its text than alone: at its ends words are cut otherwise."""
SHOWN = 60


@dataclass(frozen=True)
class Answer:
    """A part of a text."""

    text: str
    begin: int | None = None
    """Its first character in the text; None where the data does not say."""


@dataclass(frozen=True)
class AnswerField(TargetField):
    """A column of answers."""

    kind: ClassVar[Kind] = "answer"

    longest: int
    """Most tokens of an answer."""
    optional: bool
    """Whether a training row has no answer."""

    @classmethod
    def fit(cls, name: str, raw: RawColumn, settings: Dataset) -> Self:
        """Measure the answers of the training rows in tokens of their own."""
        texts = [answer.text for answers in read_answers(raw) for answer in answers]
        return cls.fit_with(name, raw, TextField.fit(name, pd.Series(texts, dtype=object), settings).tokenizer)

    @classmethod
    def fit_with(cls, name: str, raw: RawColumn, tokenizer: Tokenizer) -> Self:
        """Measure the answers of the training rows.

        Raises:
            JobError: none of them has an answer.

        """
        found = read_answers(raw)
        texts = list(dict.fromkeys(answer.text for answers in found for answer in answers))
        if not texts:
            message = f"no training row has an answer in column '{name}': there is nothing to learn"
            raise JobError([Problem("dataset.columns.label", message)])
        longest = max(map(len, tokenizer.encode(texts)))
        return cls(name, longest + MARGIN, not all(found))

    def encode(self, raw: RawColumn) -> Column:
        """Return the texts of each row's answers, as int32 numbers of `packed_texts`."""
        rows = [packed_texts([answer.text for answer in answers]) for answers in read_answers(raw)]
        packed = Ragged.of(rows)
        return Ragged(packed.values.to(torch.int32), packed.offsets)

    @property
    def output(self) -> SpanOutput:
        """Return the length of an answer, and whether there may be none."""
        return SpanOutput(self.longest, self.optional)


def read_answers(raw: RawColumn) -> list[list[Answer]]:
    """Return the answers of each row: of a text, a list of texts or of objects, or an object of lists, as in SQuAD."""
    assert isinstance(raw, pd.Series)
    texts = as_text(raw) if len(raw) else ()
    return [
        _answers(value if isinstance(value, (list, dict, np.ndarray)) else text)
        for value, text in zip(raw, texts, strict=True)
    ]


def _answers(cell: object) -> list[Answer]:
    """Return the answers of a cell, without empty ones."""
    if isinstance(cell, str) and (cell.startswith(("[", "{"))):
        try:
            parsed = json.loads(cell)
        except (json.JSONDecodeError, RecursionError):
            parsed = None
        found = _listed(parsed)
        return [Answer(cell)] if found is None else found
    if isinstance(cell, str):
        return [Answer(cell)] if cell.strip() else []
    return _listed(cell) or []


def _listed(value: Any) -> list[Answer] | None:
    """Return the answers of a list or an object; None for a value that is none of answers, such as [12]."""
    if isinstance(value, Mapping) and "text" in value:
        texts = list(value["text"]) if isinstance(value["text"], (list, np.ndarray)) else [value["text"]]
        begins = value.get(START)
        starts = list(begins) if isinstance(begins, (list, np.ndarray)) else [begins]
        starts += [None] * (len(texts) - len(starts))
        return [
            Answer(str(text), None if start is None else int(start))
            for text, start in zip(texts, starts, strict=False)
            if text
        ]
    if isinstance(value, (list, np.ndarray)):
        each = [[Answer(one)] if isinstance(one, str) else _listed(one) for one in value]
        if any(one is None or len(one) > 1 for one in each):
            return None
        return [answer for one in each if one for answer in one if answer.text]
    return None


def located(
    raw: RawColumn, starts: RawColumn | None, questions: Sequence[str], contexts: Sequence[str], name: str
) -> list[list[tuple[int, int]]]:
    """Return where the answers of each row begin and end in its text; by default, where they first occur.

    Args:
        raw: the answers.
        starts: the column `answer_start` beside them; None if there is none.
        questions: for messages.
        contexts: the texts.
        name: of the column of texts.

    Raises:
        JobError: an answer is not where the data says, or nowhere in its text.

    """
    places = _starts(starts, len(raw))
    found = []
    for row, (answers, start) in enumerate(zip(read_answers(raw), places, strict=True)):
        spans = []
        for answer in answers:
            begin = answer.begin if answer.begin is not None or len(answers) > 1 else start
            if problem := _problem(answer, begin, contexts[row], name):
                question = questions[row] if len(questions[row]) <= SHOWN else f"{questions[row][:SHOWN]}..."
                place = f"row {row_of(raw, row)} ('{question}')"
                raise JobError([Problem("dataset.columns.label", f"{place}: {problem}")])
            begin = contexts[row].index(answer.text) if begin is None else begin
            spans.append((begin, begin + len(answer.text)))
        found.append(spans)
    return found


def _starts(column: RawColumn | None, rows: int) -> list[int | None]:
    """Read the column `answer_start`.

    Raises:
        JobError: a value is no whole number.

    """
    if column is None:
        return [None] * rows
    starts: list[int | None] = []
    for row, text in enumerate(as_text(column) if rows else ()):
        try:
            number = None if text is None or not text.strip() else float(text)
            starts.append(None if number is None else int(number))
        except ValueError:
            number = float("nan")
        if number is not None and not number.is_integer():
            message = f"row {row_of(column, row)}: '{text}' is no place of a character; count from 0, or leave it empty"
            raise JobError([Problem("dataset.columns.label", f"column '{START}', {message}")])
    return starts


def _problem(answer: Answer, begin: int | None, context: str, name: str) -> str:
    """Return what is wrong with the place of an answer, and the cure; empty if nothing is."""
    shown = answer.text if len(answer.text) <= SHOWN else f"{answer.text[:SHOWN]}..."
    if begin is None:
        cure = f"copy it from there letter by letter, or leave it empty if '{name}' does not answer the question"
        return "" if answer.text in context else f"the answer '{shown}' does not occur in column '{name}'; {cure}"
    cure = f"correct {START}, or leave it out to take the place where the answer first occurs"
    end = begin + len(answer.text)
    if begin < 0 or end > len(context):
        outside = f"characters {begin} to {end} are outside of column '{name}', which has {len(context)}"
        return f"the answer '{shown}' at {outside}; {cure}"
    if context[begin:end] != answer.text:
        there = context[begin:end] if end - begin <= SHOWN else f"{context[begin : begin + SHOWN]}..."
        return f"column '{name}' has '{there}' at character {begin}, not the answer '{shown}'; {cure}"
    return ""
