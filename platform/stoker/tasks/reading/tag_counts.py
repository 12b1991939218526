"""Counts of right words and of found entities, which merge exactly: all that accuracy and F1 need."""

import torch
from torch import Tensor

from stoker.job.signature import WordTagsOutput
from stoker.tasks.reading.spans import spans


class TagCounts:
    """How often each type of entity, or each tag that marks none, was there, was predicted, and both.

    An entity is found if its words and its type are right. Scores of entities are those of all of them together, as
    seqeval's; scores of tags such as parts of speech are means over the tags (macro), as scikit-learn's.
    """

    def __init__(self, target: WordTagsOutput) -> None:
        self.names = target.types or target.tags
        """Of what is counted."""
        self._target = target
        self._places = {name: place for place, name in enumerate(self.names)}
        self._right, self._words = 0, 0
        self.both, self.predicted, self.true = torch.zeros(3, len(self.names), dtype=torch.int64)

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Take in (B, length) predicted places of tags, and (B, length) true ones counted from 1, 0 for padding."""
        predicted, target = predicted.cpu(), target.cpu()
        learnt = target > 0
        hits = (predicted + 1 == target) & learnt
        self._words += int(learnt.sum())
        self._right += int(hits.sum())
        if self._target.types:
            for row, true, words in zip(predicted.tolist(), target.tolist(), learnt.sum(dim=1).tolist(), strict=True):
                self._count(row[:words], [each - 1 for each in true[:words]])
            return
        tags = len(self.names)
        self.both += torch.bincount(predicted[hits], minlength=tags)
        self.predicted += torch.bincount(predicted[learnt], minlength=tags)
        self.true += torch.bincount(target[learnt] - 1, minlength=tags)

    def _count(self, predicted: list[int], true: list[int]) -> None:
        """Count the entities of a sentence."""
        tags = self._target.tags
        found, there = ({*spans([tags[place] for place in places])} for places in (predicted, true))
        for counts, entities in ((self.both, found & there), (self.predicted, found), (self.true, there)):
            for each in entities:
                counts[self._places[each.type]] += 1

    def state(self) -> tuple[int, int, Tensor]:
        """Return right words, words, and (3, names) counts."""
        return self._right, self._words, torch.stack([self.both, self.predicted, self.true])

    def merge(self, state: tuple[int, int, Tensor]) -> None:
        """Add another worker's counts."""
        self._right += state[0]
        self._words += state[1]
        self.both, self.predicted, self.true = self.state()[2] + state[2]

    def accuracy(self) -> float:
        """Return the share of words with the right tag; NaN for no words."""
        return self._right / self._words if self._words else float("nan")

    def scores(self) -> tuple[float, float, float]:
        """Return precision, recall and F1; NaN where nothing is there or predicted."""
        if self._target.types:
            precision, recall, f1 = _scores(self.state()[2].sum(dim=1)).tolist()
        else:
            precision, recall, f1 = self.scores_by_name().nanmean(dim=1).tolist()
        return precision, recall, f1

    def scores_by_name(self) -> Tensor:
        """Return (3, names) precision, recall and F1; NaN for a name that is nowhere, neither there nor predicted."""
        return _scores(self.state()[2])


def _scores(counts: Tensor) -> Tensor:
    """Return (3, ...) precision, recall and F1 from (3, ...) counts of both, predicted and true."""
    both, predicted, true = counts.double()
    scores = torch.stack([both / predicted.clamp(min=1), both / true.clamp(min=1), 2 * both / (predicted + true)])
    return scores.masked_fill(predicted + true == 0, float("nan"))
