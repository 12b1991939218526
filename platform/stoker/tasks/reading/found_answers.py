"""The best answer to each question over all windows of its text, on any number of workers."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from stoker.datasets.windows.answer_windows import AnswerWindow
from stoker.job.signature import PAIR, SpanOutput
from stoker.tasks.objective import BatchLike
from stoker.tasks.reading.answer_scores import answer_scores
from stoker.tasks.reading.best_spans import best_spans


@dataclass(frozen=True)
class Found:
    """What was found for a question."""

    odds: float
    """Logarithm of the odds of the best span against no answer."""
    begin: int
    """Of the span, in the characters of the text."""
    text: str
    question: str
    answers: tuple[str, ...]
    id: int
    """Of the question in the source, or -1."""
    loss: float
    """Sum over windows."""
    windows: int = 1

    def scores(self, target: SpanOutput) -> tuple[float, float]:
        """Return exact match and F1."""
        return answer_scores(self.prediction(target), self.answers)

    def prediction(self, target: SpanOutput) -> str:
        """Return the answer, empty if none is likelier and the data has questions without one."""
        return self.text if self.odds > 0 or not target.optional else ""

    @property
    def mean_loss(self) -> float:
        """Return the loss of a window."""
        return self.loss / self.windows


class FoundAnswers:
    """The answers to all questions of an evaluation.

    Args:
        target: of the questions.

    """

    def __init__(self, target: SpanOutput) -> None:
        self._target = target
        self.by_question: dict[int, Found] = {}

    def update(self, output: Tensor, batch: BatchLike, losses: Tensor | None = None, ids: Tensor | None = None) -> None:
        """Take in a batch: (B, length, 2) logits, windows, and their (B,) losses and numbers where they are shown."""
        each = [0.0] * len(output) if losses is None else losses.tolist()
        numbers = [-1] * len(output) if ids is None else ids.tolist()
        for (window, odds, begin, end), loss, number in zip(
            found_spans(output, batch, self._target), each, numbers, strict=True
        ):
            text = window.part(begin, end)
            found = Found(odds, begin, text, window.question, window.answers, number, loss)
            self._add(window.question_number, found)

    def state(self) -> dict[int, Found]:
        """Return the answers by question."""
        return self.by_question

    def merge(self, state: dict[int, Found]) -> None:
        """Take in those of another worker."""
        for number, found in state.items():
            self._add(number, found)

    def _add(self, number: int, found: Found) -> None:
        known = self.by_question.get(number)
        if known:
            best = max(known, found, key=lambda each: (each.odds, -each.begin))
            found = replace(best, loss=known.loss + found.loss, windows=known.windows + found.windows)
        self.by_question[number] = found

    def scores(self) -> tuple[float, float]:
        """Return the means of exact match and F1, each question once; NaN without questions."""
        scores = [self.by_question[number].scores(self._target) for number in sorted(self.by_question)]
        if not scores:
            return float("nan"), float("nan")
        exact, f1 = (sum(each) / len(scores) for each in zip(*scores, strict=True))
        return exact, f1


def found_spans(output: Tensor, batch: BatchLike, target: SpanOutput) -> Iterator[tuple[AnswerWindow, float, int, int]]:
    """Yield the windows of a batch, with the log-odds, the begin and the end of the best span of each."""
    spans = best_spans(output, batch.inputs[PAIR], target.longest)[:, :3].tolist()
    for numbers, (odds, begin, end) in zip(batch.target.cpu().numpy(), spans, strict=True):
        yield AnswerWindow.unpacked(numbers), odds, int(begin), int(end)
