"""What is measured and shown of written answers: how many are those of the data, and those that were least expected."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from stoker.datasets.fields.texts.dialogue import DialogueField
from stoker.tasks.metrics import Metrics, Sums, Worst
from stoker.tasks.objective import BatchLike
from stoker.tasks.task import Review
from stoker.tasks.writing.greedy_answers import last_answers

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ExactAnswers(Metrics):
    """The share of dialogues whose last answer is written as the data has it."""

    def __init__(self, field: DialogueField) -> None:
        self._field = field
        self._exact, self._dialogues = 0, 0

    def update(self, output: Tensor, batch: BatchLike) -> None:
        """Take in (B, 1 + n) losses and written answers."""
        self._exact += sum(exact(self._field, output[:, 1:], batch.target))
        self._dialogues += len(output)

    def state(self) -> tuple[int, int]:
        """Return both counts."""
        return self._exact, self._dialogues

    def merge(self, state: tuple[int, int]) -> None:
        """Add another worker's."""
        self._exact, self._dialogues = self._exact + state[0], self._dialogues + state[1]

    def compute(self) -> dict[str, float]:
        """Return the share; NaN for no dialogues."""
        return {"exact_match": self._exact / self._dialogues if self._dialogues else float("nan")}


class AnswerReview(Review):
    """The share of right answers by their length, and the dialogues with the largest mean loss."""

    def __init__(self, field: DialogueField) -> None:
        self._field = field
        self._sums = Sums(2, _group(field.length) + 1)  # right answers, and all of them
        self._worst = Worst()
        super().__init__(self._sums, self._worst)

    def update(self, output: Tensor, batch: BatchLike, ids: Tensor) -> None:
        """Take in a batch of (B, 1 + n) losses and written answers."""
        begins, behind = last_answers(batch.target)
        right = exact(self._field, output[:, 1:], batch.target)
        counted = torch.zeros_like(self._sums.values)
        for length, good in zip((behind - begins).tolist(), right, strict=True):
            counted[:, _group(max(length, 1))] += torch.tensor([int(good), 1])
        self._sums.add(counted)
        read, written = batch.inputs[self._field.name], output[:, 1:].long()
        width = max(read.shape[1], written.shape[1])
        both = [functional.pad(each, (0, width - each.shape[1])) for each in (read, written)]
        self._worst.update(output[:, 0], torch.stack(both, dim=1), batch.target, ids)

    def figures(self) -> dict[str, "Figure"]:
        """Draw how many answers are right by their length."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.add_subplot()
        right, answers = self._sums.values
        groups = (answers > 0).nonzero().flatten().tolist()
        shares = (right / answers.clamp(min=1))[groups]
        axes.bar(range(len(groups)), shares.numpy())
        axes.set_xticks(range(len(groups)), [f"{2**group}-{2 ** (group + 1) - 1}" for group in groups])
        axes.set(xlabel=f"{self._field.tokenizer.unit} of the answer", ylabel="share of exact answers", ylim=(0, 1))
        axes.set_title(f"Exact answers by their length, {self._worst.seen} samples")
        return {"exact-by-length": figure}

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Return each dialogue with its last answer and the written one."""
        rows = []
        for shown in self._worst.samples:
            assert shown.target is not None
            begins, behind = (int(each) for each in last_answers(shown.target.unsqueeze(0)))
            read, written = shown.output.tolist()
            rows.append(
                {
                    "id": shown.id,
                    "dialogue": self._field.text(read[: begins + 1]),
                    "target": self._field.answer(shown.target[begins:behind].tolist()),
                    "prediction": self._field.answer(written),
                    "loss": round(shown.loss, 4),
                }
            )
        return rows


def exact(field: DialogueField, written: Tensor, target: Tensor) -> list[bool]:
    """Return whether each written answer (B, n) is the last one of its dialogue, without blanks at its ends."""
    begins, behind = (each.tolist() for each in last_answers(target))
    known = [row[begin:end] for row, begin, end in zip(target.tolist(), begins, behind, strict=True)]
    return [field.answer(own) == field.answer(truth) for own, truth in zip(written.long().tolist(), known, strict=True)]


def _group(length: int) -> int:
    return math.floor(math.log2(length))
