"""Questions with the texts that answer them: a sequence of tokens, or several where a text is long."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from stoker.datasets.columns import Ragged
from stoker.datasets.fields.category import as_text
from stoker.datasets.fields.texts.answer import START, AnswerField, located, read_answers
from stoker.datasets.fields.texts.text import TextField
from stoker.datasets.fields.texts.text_sizes import require_whole
from stoker.datasets.records import Records
from stoker.datasets.samples import Samples
from stoker.datasets.tokens.tokenizer import UNKNOWN
from stoker.datasets.windows.answer_windows import AnswerWindow, packed_texts
from stoker.errors import JobError, Problem
from stoker.job.signature import CONTEXT, PAIR, QUESTION, REPEATED, PairInput

OVERLAP = 1 / 3
"""Share of a window that the next one has, too, so that an answer on a border is whole in one of them."""
QUESTION_SHARE = 1 / 2
"""Most of a sequence that a question takes."""
LENGTH = "dataset.text.length"


@dataclass(frozen=True)
class Passages:
    """The columns of questions and texts, with one vocabulary."""

    question: TextField
    context: TextField

    @property
    def shape(self) -> PairInput:
        """Return the size of the vocabulary and the length of a sequence."""
        return PairInput(self.context.tokenizer.size, self.context.length)

    @property
    def room(self) -> int:
        """Return the tokens of a sequence without those that stand around its texts.

        Raises:
            JobError: there are fewer than two.

        """
        around = sum(map(len, self.context.tokenizer.around_pair))
        if self.context.length < around + 2:
            message = f"{self.context.length} tokens do not hold a question and a text; use at least {around + 2}"
            raise JobError([Problem(LENGTH, message)])
        return self.context.length - around

    @property
    def most_asked(self) -> int:
        """Return the most tokens of a question; longer ones are truncated, or refused."""
        return max(int(self.room * QUESTION_SHARE), 1)

    def encode(self, records: Records, answers: AnswerField | None) -> Samples:
        """Encode each question with its text, as one sample or several; `ids` are the places of the records.

        Args:
            records: with the columns of both.
            answers: the column of answers; None to predict.

        Raises:
            JobError: an answer is no part of its text, or the job refuses to truncate a question.

        """
        questions, contexts = self._texts(records, self.question), self._texts(records, self.context)
        tokenizer = self.context.tokenizer
        numbers = tokenizer.encode(questions)
        asked, column = [*map(len, numbers)], records.columns[self.question.name]
        require_whole(self.question.long, self.question.name, column, asked, self.most_asked, tokenizer.unit)
        different = list(dict.fromkeys(contexts))  # many questions have the same text
        known = dict(
            zip(different, zip(tokenizer.encode(different), tokenizer.spans(different), strict=True), strict=True)
        )
        spans = self._spans(records, answers, questions, contexts)
        known_answers = read_answers(records.columns[answers.name]) if answers else []
        inputs: list[np.ndarray] = []
        targets: list[np.ndarray] = []
        ids: list[int] = []
        lengths: list[tuple[int, int]] = []
        for row, (question, context) in enumerate(zip(questions, contexts, strict=True)):
            packed = packed_texts([answer.text for answer in known_answers[row]]) if answers else np.zeros(0, np.int32)
            for sequence in self._sequences(numbers[row], *known[context]):
                inputs.append(sequence)
                ids.append(row)
                lengths.append((len(numbers[row]), len(known[context][0])))
                if answers:
                    targets.append(_target(sequence, spans[row], row, question, context).packed(packed))
        target = _ragged(targets, ()) if answers else None
        whole = torch.tensor(lengths, dtype=torch.int32).reshape(-1, 2)  # of the question, and of the text
        pair = replace(_ragged(inputs, (4,)), whole=whole)
        return Samples({PAIR: pair}, target, None, torch.tensor(ids, dtype=torch.int64))

    def _texts(self, records: Records, field: TextField) -> list[str]:
        column = records.columns[field.name]
        return [text or "" for text in as_text(column)] if len(column) else []

    def _spans(
        self, records: Records, answers: AnswerField | None, questions: Sequence[str], contexts: Sequence[str]
    ) -> list[list[tuple[int, int]]]:
        if not answers:
            return []
        starts = records.columns.get(START) if answers.name != START else None
        return located(records.columns[answers.name], starts, questions, contexts, self.context.name)

    def _sequences(self, question: np.ndarray, context: np.ndarray, spans: np.ndarray) -> Iterator[np.ndarray]:
        """Yield (tokens, 4) int32 sequences with overlapping windows of a text, as of a PairInput."""
        before, between, behind = self.context.tokenizer.around_pair
        room = self.room
        asked = question[: self.most_asked]
        rest = room - len(asked)
        repeated = np.isin(context, asked[asked != UNKNOWN])
        head = np.array([*before, *asked, *between], np.int32)
        for start in window_starts(len(context), rest):
            taken = slice(start, start + rest)
            tokens = np.concatenate([head, context[taken], np.array(behind, np.int32)])
            sequence = np.zeros((len(tokens), 4), np.int32)
            sequence[:, 0] = tokens
            sequence[: len(head), 1], sequence[len(head) :, 1] = QUESTION, CONTEXT
            inside = slice(len(head), len(head) + len(context[taken]))
            sequence[inside, 1] = np.where(repeated[taken], REPEATED, CONTEXT)
            sequence[inside, 2:] = spans[taken]
            yield sequence

    def notes(self, asked: np.ndarray, contexts: np.ndarray) -> Iterator[str]:
        """Yield notes on texts that are read in several windows, and on questions that are cut off.

        Args:
            asked: (N,) tokens of each training question.
            contexts: (N,) tokens of the text that answers each.

        """
        unit, most = self.context.tokenizer.unit, self.most_asked
        of_all = f"of {len(contexts):,} training texts"
        if long := int((contexts > self.room - np.minimum(asked, most)).sum()):
            how = f"have over {self.context.length} {unit} with their question"
            cure = f"they are read in overlapping windows ({LENGTH})"
            yield f"column '{self.context.name}': {long:,} {of_all} {how}; {cure}"
        if cut := int((asked > most).sum()):
            longer = f"{cut:,} of {len(asked):,} training questions have over {most} {unit}"
            yield f"column '{self.question.name}': {longer} and are cut off there"


def window_starts(tokens: int, size: int) -> range:
    """Return where windows of a text begin; the last one reaches its end."""
    step = max(size - int(size * OVERLAP), 1)
    return range(0, max(tokens - size + step, 1), step)


def _target(
    sequence: np.ndarray, spans: Sequence[tuple[int, int]], row: int, question: str, context: str
) -> AnswerWindow:
    """Return what is learnt of a window: the first answer of which it has all tokens."""
    begins, ends = sequence[:, 2], sequence[:, 3]
    there = np.flatnonzero(ends > begins)
    first, last = (int(begins[there].min()), int(ends[there].max())) if len(there) else (0, 0)
    begin = end = 0
    for start, stop in spans:
        own = there[(begins[there] < stop) & (ends[there] > start)]
        if len(own) and begins[own[0]] <= start and ends[own[-1]] >= stop:
            begin, end = int(own[0]), int(own[-1])
            break
    return AnswerWindow(begin, end, row, first, context[first:last], question, ())


def _ragged(rows: Sequence[np.ndarray], shape: tuple[int, ...]) -> Ragged:
    offsets = torch.zeros(len(rows) + 1, dtype=torch.int64)
    offsets[1:] = torch.tensor([len(each) for each in rows], dtype=torch.int64).cumsum(0)
    return Ragged(torch.from_numpy(np.concatenate([np.zeros((0, *shape), np.int32), *rows])), offsets)
