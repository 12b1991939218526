"""Metrics of written texts: BLEU, ROUGE, and how many are those of the data."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from stoker.datasets.fields.texts.target_text import TargetTextField
from stoker.tasks.metrics import Metrics
from stoker.tasks.objective import BatchLike

ROUGE = ("rouge1", "rouge2", "rougeL")


class TextMetrics(Metrics):
    """Sums over texts, which those of other batches and workers are added to.

    Args:
        target: of the texts.

    """

    def __init__(self, target: TargetTextField) -> None:
        self._target = target
        self._sums = np.zeros(1)
        self._exact, self._texts = 0, 0

    @abstractmethod
    def counted(self, written: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """Return what some texts add to the sums."""

    @abstractmethod
    def scores(self, sums: np.ndarray, texts: int) -> dict[str, float]:
        """Return each metric but `exact_match`, of at least one text."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Return the names of the metrics of `scores`, the most telling first."""

    def update(self, output: Tensor, batch: BatchLike) -> None:
        """Take in (B, 1 + n) losses and written tokens."""
        written = [self._target.text(row) for row in output[:, 1:].long().tolist()]
        references = [self._target.text(row) for row in batch.target.tolist()]
        if written:
            self._sums = self._sums + self.counted(written, references)
            self._exact += sum(one.strip() == other.strip() for one, other in zip(written, references, strict=True))
            self._texts += len(written)

    def state(self) -> tuple[np.ndarray, int, int]:
        """Return the sums, exact matches and texts."""
        return self._sums, self._exact, self._texts

    def merge(self, state: tuple[Any, int, int]) -> None:
        """Add another worker's."""
        self._sums = self._sums + state[0]
        self._exact += state[1]
        self._texts += state[2]

    def compute(self) -> dict[str, float]:
        """Return each metric; NaN without texts."""
        if not self._texts:
            return dict.fromkeys((*self.names, "exact_match"), float("nan"))
        return {**self.scores(self._sums, self._texts), "exact_match": self._exact / self._texts}


class Bleu(TextMetrics):
    """BLEU of all texts together, from 0 to 100, as sacreBLEU computes it by default (Post 2018): tokens are 13a."""

    names = ("bleu",)

    def counted(self, written: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """Count n-grams that are right, all n-grams, and the tokens of both sides."""
        from sacrebleu.metrics.bleu import BLEU

        found = BLEU().corpus_score(list(written), [list(references)])
        return np.array([*found.counts, *found.totals, found.sys_len, found.ref_len], np.int64)

    def scores(self, sums: np.ndarray, texts: int) -> dict[str, float]:
        """Return BLEU."""
        from sacrebleu.metrics.bleu import BLEU

        right, all_of_them = sums[:4].tolist(), sums[4:8].tolist()
        written, known = int(sums[8]), int(sums[9])
        return {"bleu": BLEU.compute_bleu(right, all_of_them, written, known, smooth_method="exp").score}


class Rouge(TextMetrics):
    """ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004): means of the texts' F1, of stems of English words."""

    names = ROUGE

    def __init__(self, target: TargetTextField) -> None:
        from rouge_score.rouge_scorer import RougeScorer

        super().__init__(target)
        self._scorer = RougeScorer(list(ROUGE), use_stemmer=True)

    def counted(self, written: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """Sum the F1 of the texts."""
        found = [self._scorer.score(known, own) for own, known in zip(written, references, strict=True)]
        sums: np.ndarray = np.array([[each[name].fmeasure for name in ROUGE] for each in found]).sum(axis=0)
        return sums

    def scores(self, sums: np.ndarray, texts: int) -> dict[str, float]:
        """Return the means."""
        return {name: float(value) / texts for name, value in zip(ROUGE, sums, strict=True)}
