"""The part of a text that answers a question."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from torch import Tensor, nn
from torch.nn import functional

from stoker.datasets.fields.category import as_text
from stoker.datasets.records import Records
from stoker.datasets.windows.answer_windows import AnswerWindow
from stoker.job.signature import PAIR, SpanOutput
from stoker.job.training import Training
from stoker.tasks.metrics import KEPT, Metrics
from stoker.tasks.objective import BatchLike, NoiseLike, Objective, Supervised
from stoker.tasks.reading.best_spans import best_spans, masked
from stoker.tasks.reading.found_answers import Found, FoundAnswers, found_spans
from stoker.tasks.sheet import Highlight, Marked, Page
from stoker.tasks.task import Answers, Review, Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NONE = "(no answer)"
AROUND = 120
"""Characters of a text that are shown before and behind an answer."""
DRAWN_WORDS = 15
NOTE = "The answer of the data in its text, and below it the one that was found: with a red frame where they differ."


class SpanEntropy(Supervised):
    """Mean of the cross-entropies in nats of where an answer begins and where it ends, in each window of a text.

    Args:
        network: returns (B, length, 2) logits.

    """

    def losses(self, output: Tensor, batch: BatchLike) -> Tensor:
        """Return (B,) losses of the windows."""
        return _losses(output, batch)


def _losses(output: Tensor, batch: BatchLike) -> Tensor:
    logits = masked(output, batch.inputs[PAIR])
    begins, ends = (batch.target[:, place : place + 1].flatten().long() for place in (0, 1))  # none in an empty batch
    begin = functional.cross_entropy(logits[..., 0], begins, reduction="none")
    return (begin + functional.cross_entropy(logits[..., 1], ends, reduction="none")) / 2


class QuestionAnswering(Task):
    """The likeliest part of a text, or none where the data has questions without an answer.

    A long text is read in windows, each of which has a best part; the answer is the one with the best odds against no
    answer in its window.
    """

    def objective(self, network: nn.Module, training: Training) -> Objective:
        """Minimise the cross-entropy of both ends."""
        return SpanEntropy(network)

    def metrics(self, samples: int) -> Metrics:
        """Return exact match and F1."""
        return AnswerMetrics(self.target)

    def review(self) -> Review:
        """Gather F1 by the first word of a question, and the questions whose answers were least expected."""
        return AnswerReview(self.target)

    def show(self, network: nn.Module, few: BatchLike, seed: int) -> Page:
        """Return questions with the answer of the data and the found one, both in what is around them in the text."""
        found = found_spans(network(few.inputs).float(), few, self.target)
        texts = [self._shown(pair, *each) for pair, each in zip(few.inputs[PAIR].cpu(), found, strict=True)]
        return Page.of("answered", texts, (), NOTE)

    def _shown(self, pair: Tensor, window: AnswerWindow, odds: float, begin: int, end: int) -> Marked:
        """Return a question with its answers, and the beginning of the text where there is no answer."""
        found = Found(odds, begin, window.part(begin, end), window.question, window.answers, -1, 0.0)
        answers, prediction = dict.fromkeys(window.answers), found.prediction(self.target)
        wrong = found.scores(self.target)[0] < 1
        elsewhere = " (not in this window)" if window.answers and not window.begin else ""
        lines = [("question: ", Marked(window.question))]
        if not window.begin and not prediction:
            lines.append(("text:     ", Marked(f"{window.text[: 2 * AROUND]}...")))
        lines.append(("answer:   ", Marked((" | ".join(answers) or NONE) + elsewhere)))
        if window.begin:
            places = (int(pair[window.begin, 2]) - window.offset, int(pair[window.end, 3]) - window.offset)
            lines.append(("          ", _around(window.text, *places, wrong)))
        lines.append(("found:    ", Marked(prediction or NONE)))
        if prediction:
            lines.append(("          ", _around(window.text, begin - window.offset, end - window.offset, wrong)))
        return Marked.lines(*lines)

    def outputs(self, network: nn.Module, inputs: Mapping[str, Tensor], noise: NoiseLike) -> Tensor:
        """Return the best span of each window, as `best_spans` does."""
        return best_spans(super().outputs(network, inputs, noise), inputs[PAIR], self.target.longest)

    def answers(self, outputs: Tensor, records: Records) -> Answers:
        """Return the part of the text, how likely it is, and its place; an empty one at 0 is no answer."""
        contexts = as_text(records.columns[self.fields.columns[-1]])
        rows = []
        for text, (odds, begin, end, probability, none) in zip(contexts, outputs.tolist(), strict=True):
            there = odds > 0 or not self.target.optional
            first, last = (int(begin), int(end)) if there else (0, 0)
            score = probability if there else none
            rows.append({"prediction": (text or "")[first:last], "score": score, "begin": first, "end": last})
        return Answers(pd.DataFrame(rows).astype({"prediction": object}))

    @property
    def target(self) -> SpanOutput:
        """What an answer may be."""
        assert isinstance(self.fields.signature.output, SpanOutput)
        return self.fields.signature.output


def _around(text: str, begin: int, end: int, wrong: bool) -> Marked:
    """Return a highlighted part of a text with what is around it."""
    before, behind = text[max(begin - AROUND, 0) : begin], text[end : end + AROUND]
    before = f"...{before}" if begin > AROUND else before
    behind = f"{behind}..." if end + AROUND < len(text) else behind
    return Marked.of([(before, None), (text[begin:end], Highlight(0, 0, "", wrong)), (behind, None)], between="")


class AnswerMetrics(Metrics):
    """Exact match and F1 of the best answer to each question, by the normalised words of SQuAD."""

    def __init__(self, target: SpanOutput) -> None:
        self._found = FoundAnswers(target)

    def update(self, output: Tensor, batch: BatchLike) -> None:
        """Take in (B, length, 2) logits, and windows."""
        self._found.update(output, batch)

    def state(self) -> dict[int, Found]:
        """Return the answers by question."""
        return self._found.state()

    def merge(self, state: dict[int, Found]) -> None:
        """Add another worker's answers."""
        self._found.merge(state)

    def compute(self) -> dict[str, float]:
        """Return both; NaN without questions."""
        exact, f1 = self._found.scores()
        return {"exact_match": exact, "f1": f1}


class AnswerReview(Review):
    """How well questions are answered by their first word, and those with the largest mean loss of a window."""

    def __init__(self, target: SpanOutput) -> None:
        self._target = target
        self._found = FoundAnswers(target)
        super().__init__(self._found)

    def update(self, output: Tensor, batch: BatchLike, ids: Tensor) -> None:
        """Take in a batch; of a window only the best answer is kept."""
        self._found.update(output, batch, _losses(output, batch), ids)

    def figures(self) -> dict[str, "Figure"]:
        """Draw the F1 of questions with the same first word, such as who and when."""
        from matplotlib.figure import Figure

        by_word: dict[str, list[float]] = {}
        for found in self._found.by_question.values():
            word = next(iter(found.question.lower().split()), "")
            by_word.setdefault(word, []).append(found.scores(self._target)[1])
        frequent = sorted(by_word, key=lambda word: (-len(by_word[word]), word))[:DRAWN_WORDS][::-1]
        figure = Figure(figsize=(7, 1.5 + 0.25 * len(frequent)), layout="constrained")
        axes = figure.add_subplot()
        names = [f"{word} ({len(by_word[word])})" for word in frequent]
        axes.barh(names, [sum(by_word[word]) / len(by_word[word]) for word in frequent])
        title = f"F1 by the first word of the question, {len(self._found.by_question)} samples"
        axes.set(xlim=(0, 1), xlabel="F1", title=title)
        return {"f1-by-question": figure}

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Return questions with the answers of the data and the found one."""
        worst = sorted(self._found.by_question.values(), key=lambda found: (-found.mean_loss, found.id))[:KEPT]
        return [
            {
                "id": found.id,
                "question": found.question,
                "target": " | ".join(dict.fromkeys(found.answers)) or NONE,
                "prediction": found.prediction(self._target) or NONE,
                "loss": round(found.mean_loss, 4),
            }
            for found in worst
        ]
