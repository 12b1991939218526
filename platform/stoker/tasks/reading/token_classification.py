"""A tag for each word of a sentence: named entities, or parts of speech."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.datasets.records import Records
from stoker.job.signature import WordTagsOutput
from stoker.job.training import Training
from stoker.tasks.classification.classification import weight_of_classes
from stoker.tasks.metrics import Metrics, Worst
from stoker.tasks.objective import BatchLike, Objective, Supervised
from stoker.tasks.reading.spans import iob2, marked, spans, with_tags
from stoker.tasks.reading.tag_counts import TagCounts
from stoker.tasks.sheet import Marked, Page
from stoker.tasks.task import Answers, Review, Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN_NAMES = 40
NOTE = "A red frame marks what is in only one of the two: not found, or not true."


class WordEntropy(Supervised):
    """Cross-entropy of the tag of each word in nats; every word weighs the same, but for weights of rows and tags.

    Args:
        network: returns (B, length, tags) logits.
        class_weights: (tags,) weight of a word by its tag; None where all weigh 1.
        smoothing: share of each tag that is spread over all of them.

    """

    class_weights: Tensor | None

    def __init__(self, network: nn.Module, class_weights: Tensor | None = None, smoothing: float = 0.0) -> None:
        super().__init__(network)
        self.register_buffer("class_weights", class_weights, persistent=False)  # the job has them already
        self._smoothing = smoothing

    def weights(self, batch: BatchLike) -> Tensor:
        """Return the (B, length) weights of the words, 0 for padding."""
        weights: Tensor = (batch.target > 0).float()
        if self.class_weights is not None:
            weights = weights * self.class_weights[(batch.target - 1).clamp(min=0)]
        return weights if batch.weight is None else weights * batch.weight.unsqueeze(1)

    def losses(self, output: Tensor, batch: BatchLike) -> Tensor:
        """Return (B, length) losses of the words, 0 for padding."""
        return _losses(output, batch.target, self._smoothing)


def _losses(output: Tensor, target: Tensor, smoothing: float = 0.0) -> Tensor:
    each = functional.cross_entropy(
        output.flatten(0, 1),
        (target - 1).flatten(),
        ignore_index=-1,
        reduction="none",
        label_smoothing=smoothing,
    )
    losses: Tensor = each.view(target.shape)
    return losses


class TokenClassification(Task):
    """The likeliest tag of each word; entities are read from the tags as seqeval does, which makes any tags valid."""

    def objective(self, network: nn.Module, training: Training) -> Objective:
        """Minimise the cross-entropy."""
        return WordEntropy(network, weight_of_classes(training, self.target.tags), training.label_smoothing)

    def metrics(self, samples: int) -> Metrics:
        """Return the accuracy of words, and precision, recall and F1 of whole entities, or of tags that mark none."""
        return TagMetrics(self.target)

    def review(self) -> Review:
        """Gather the F1 of each type, and the sentences whose tags were least expected."""
        return TagReview(self)

    def show(self, network: nn.Module, few: BatchLike, seed: int) -> Page:
        """Return sentences with their true tags, and below them as they are tagged; differences are framed."""
        (tokens,) = few.inputs.values()
        predicted = network(few.inputs).argmax(dim=2)
        texts = []
        for row, target, sentence in zip(predicted.cpu(), few.target.cpu(), tokens.cpu(), strict=True):
            words = self.fields.words.decode(sentence)
            found, true = self.names(row, len(words)), self.names(target - 1, len(words))
            shown = (self.written(words, true, found), self.written(words, found, true))
            texts.append(Marked.lines(("truth: ", shown[0]), ("found: ", shown[1])))
        return Page.of("tagged", texts, self.target.types or self.target.tags, NOTE)

    def answers(self, outputs: Tensor, records: Records) -> Answers:
        """Return the tags of the words between blanks, in IOB2 where they mark entities, and the entities as JSON."""
        words = self.fields.words
        sentences = words.read(records.columns[words.name])
        rows = []
        for sentence, places in zip(sentences, outputs.argmax(dim=2), strict=True):
            tags = self.names(places, len(sentence))
            if not self.target.types:
                rows.append({"prediction": " ".join(tags)})
                continue
            found = spans(tags)
            entities = [
                {
                    "text": " ".join(sentence[each.begin : each.end]),
                    "type": each.type,
                    "begin": each.begin,
                    "end": each.end,
                }
                for each in found
            ]
            tags = iob2(found, len(sentence))
            rows.append({"prediction": " ".join(tags), "entities": json.dumps(entities, ensure_ascii=False)})
        return Answers(pd.DataFrame(rows, dtype=object))

    def names(self, places: Tensor, words: int) -> list[str]:
        """Return the tags of the first words of a sentence, from (length,) places among them."""
        return [self.target.tags[place] for place in places[:words].tolist()]

    def written(self, words: Sequence[str], tags: Sequence[str], others: Sequence[str] | None = None) -> Marked:
        """Return a sentence as people read its tags, with those that others differ from."""
        if self.target.types:
            return marked(words, spans(tags), None if others is None else set(spans(others)))
        return with_tags(words, tags, others)

    @property
    def target(self) -> WordTagsOutput:
        """The tags to choose from."""
        assert isinstance(self.fields.signature.output, WordTagsOutput)
        return self.fields.signature.output


class TagMetrics(Metrics):
    """The share of words with the right tag; precision, recall and F1."""

    def __init__(self, target: WordTagsOutput) -> None:
        self._counts = TagCounts(target)

    def update(self, output: Tensor, batch: BatchLike) -> None:
        """Take in (B, length, tags) logits, and (B, length) tags counted from 1 as the target."""
        self._counts.update(output.argmax(dim=2), batch.target)

    def state(self) -> tuple[int, int, Tensor]:
        """Return all counts."""
        return self._counts.state()

    def merge(self, state: tuple[int, int, Tensor]) -> None:
        """Add another worker's counts."""
        self._counts.merge(state)

    def compute(self) -> dict[str, float]:
        """Return each metric; NaN where there is nothing to find and nothing was found."""
        precision, recall, f1 = self._counts.scores()
        return {"accuracy": self._counts.accuracy(), "precision": precision, "recall": recall, "f1": f1}


class TagReview(Review):
    """How well each type was found, and the sentences with the largest mean loss of a word."""

    def __init__(self, task: TokenClassification) -> None:
        self._task = task
        self._counts = TagCounts(task.target)
        self._worst = Worst()
        super().__init__(self._counts, self._worst)

    def update(self, output: Tensor, batch: BatchLike, ids: Tensor) -> None:
        """Take in a batch; of a sentence only tags and words are kept."""
        predicted, (tokens,) = output.argmax(dim=2), batch.inputs.values()
        self._counts.update(predicted, batch.target)
        losses = _losses(output, batch.target).sum(dim=1) / (batch.target > 0).sum(dim=1).clamp(min=1)
        self._worst.update(losses, torch.cat([predicted.unsqueeze(2), tokens], dim=2), batch.target, ids)

    def figures(self) -> dict[str, "Figure"]:
        """Draw the F1 of the most frequent types of entities, or tags."""
        from matplotlib.figure import Figure

        counts, what = self._counts, "type" if self._task.target.types else "tag"
        frequent = counts.true.argsort(descending=True, stable=True)[:DRAWN_NAMES].flip(0)
        names = [f"{counts.names[i]} ({int(counts.true[i])})" for i in frequent.tolist()]
        figure = Figure(figsize=(7, 1.5 + 0.25 * len(names)), layout="constrained")
        axes = figure.add_subplot()
        axes.barh(names, counts.scores_by_name()[2][frequent].nan_to_num().tolist())
        axes.set(xlim=(0, 1), xlabel="F1", title=f"F1 by {what} (times it is there), {self._worst.seen} samples")
        return {f"f1-by-{what}": figure}

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Return each sentence with its true and its predicted tags."""
        rows = []
        for shown in self._worst.samples:
            assert shown.target is not None
            words = self._task.fields.words.decode(shown.output[:, 1:])
            target, prediction = (
                self._task.written(words, self._task.names(places, len(words))).text
                for places in (shown.target - 1, shown.output[:, 0])
            )
            rows.append({"id": shown.id, "target": target, "prediction": prediction, "loss": round(shown.loss, 4)})
        return rows
