"""Learning what is normal from normal samples alone, and from where on a score is that of an anomaly."""

from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import Tensor, nn

from stoker.datasets.fields.normality import ODD
from stoker.errors import JobError, Problem
from stoker.tasks.abilities import CanJudge, can_judge, can_memorise
from stoker.tasks.objective import BatchLike, Count, Loss, NoiseLike, OneNetwork

PASSING = 0.95
"""Share of the normal samples that pass for normal, where no labelled anomalies say a better one."""
LEAST_THRESHOLD = 1e-9


class OneClass(OneNetwork):
    """The network's own loss of normal samples; after each epoch it memorises them, and the threshold is set.

    Args:
        network: that judges.
        passing: share of the normal validation samples below the threshold; None for the one with the best F1.

    """

    def __init__(self, network: nn.Module, passing: float | None) -> None:
        super().__init__(network)
        if not can_judge(network):
            message = (
                "the network finds no anomalies: it needs `losses(inputs, classes, noise)` and a buffer `threshold`"
            )
            raise JobError([Problem("architecture", message)])
        self._passing = passing

    @property
    def judge(self) -> CanJudge:
        """Return the network with its abilities."""
        return cast("CanJudge", self.network)

    def counts(self, batch: BatchLike, turn: str) -> dict[str, Count]:
        """Count the normal samples, or their weights."""
        return {"loss": self._weights(batch).sum()}

    def forward(self, batch: BatchLike, turn: str, noise: NoiseLike) -> dict[str, Tensor]:
        """Return the sum over the normal samples."""
        return {"loss": self._sum(batch, noise)}

    def evaluate(self, batch: BatchLike, noise: NoiseLike) -> tuple[dict[str, Loss], Tensor | None]:
        """Return the loss of the normal samples, and the scores of all."""
        losses = {"loss": Loss(self._sum(batch, noise), self.counts(batch, "network")["loss"])}
        return losses, self.network(batch.inputs)

    def before_evaluation(self, part: Callable[[str], Iterable[BatchLike]]) -> None:
        """Memorise the training samples, and set the threshold by those of the validation part."""
        if can_memorise(self.network):
            self.network.memorise(batch.inputs for batch in part("train"))
        threshold = self.judge.threshold
        threshold.fill_(1.0)
        scores, odd = [], []
        for batch in part("val"):
            scores.append(self.network(batch.inputs)[:, 0].float().cpu())
            odd.append(is_odd(batch).cpu())
        chosen = chosen_threshold(torch.cat(scores), torch.cat(odd), self._passing)
        threshold.fill_(max(chosen, LEAST_THRESHOLD))

    def _sum(self, batch: BatchLike, noise: NoiseLike) -> Tensor:
        classes = batch.target if batch.target is not None else _no_classes(batch)
        losses = self.judge.losses(batch.inputs, classes, noise).float()
        return (losses * self._weights(batch)).sum()

    def _weights(self, batch: BatchLike) -> Tensor:
        """Return (B,) weights; anomalies have none."""
        normal = (~is_odd(batch)).float()
        return normal if batch.weight is None else normal * batch.weight


def is_odd(batch: BatchLike) -> Tensor:
    """Return (B,) which samples are anomalies; without labels, none is."""
    classes = batch.target if batch.target is not None else _no_classes(batch)
    odd: Tensor = classes == ODD
    return odd


def chosen_threshold(scores: Tensor, odd: Tensor, passing: float | None) -> float:
    """Return the score that separates normal samples from anomalies.

    Args:
        scores: (N,) of samples.
        odd: (N,) which of them are anomalies.
        passing: share of the normal ones below the threshold; None for the one with the best F1, or `PASSING` where
            there are no anomalies.

    """
    normal = scores[~odd]
    if passing is None and odd.any() and len(normal):
        order = scores.argsort(descending=True)
        found = odd[order].cumsum(0).double()
        f1 = 2 * found / (torch.arange(1, len(scores) + 1) + odd.sum())
        best = int(f1.argmax())
        above = scores[order[best]]
        below = scores[order[best + 1]] if best + 1 < len(scores) else above
        return float((above + below) / 2)
    return float((normal if len(normal) else scores).double().quantile(PASSING if passing is None else passing))


def _no_classes(batch: BatchLike) -> Tensor:
    device = next(iter(batch.inputs.values())).device
    return torch.zeros(len(batch), dtype=torch.int64, device=device)
