"""Learning to write a text: each token of it from those before it (Williams and Zipser 1989)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.datasets.tokens.tokenizer import END, PADDING
from stoker.job.signature import WRITTEN
from stoker.tasks.objective import BatchLike, Count, Loss, NoiseLike, Supervised


class TeacherForcing(Supervised):
    """Cross-entropy of each token in nats; every token weighs the same, or as its sample does.

    Args:
        network: returns (B, n, vocabulary) logits of what follows each token that is written.
        length: most tokens of a text that are learnt.
        smoothing: share of each token that is spread over all of the vocabulary.

    """

    def __init__(self, network: nn.Module, length: int, smoothing: float = 0.0) -> None:
        super().__init__(network)
        self._length = length
        self._smoothing = smoothing

    def counts(self, batch: BatchLike, turn: str) -> dict[str, Count]:
        """Count the tokens to learn, or their samples' weights."""
        learnt = (self._learnt(batch) != PADDING).float()
        return {"loss": (learnt if batch.weight is None else learnt * batch.weight.unsqueeze(1)).sum()}

    def losses(self, output: Tensor, batch: BatchLike) -> Tensor:
        """Return (B, n) losses of each token, 0 for padding."""
        return self._losses(output, batch, self._smoothing)

    def forward(self, batch: BatchLike, turn: str, noise: NoiseLike) -> dict[str, Tensor]:
        """Return the sum over all tokens."""
        return {"loss": _weighted(self.losses(self._logits(batch), batch), batch).sum()}

    def evaluate(self, batch: BatchLike, noise: NoiseLike) -> tuple[dict[str, Loss], Tensor | None]:
        """Return the loss of a token, and the (B, n) losses of all; both without smoothing."""
        losses = self._losses(self._logits(batch), batch, 0.0)
        return {"loss": Loss(_weighted(losses, batch).sum(), self.counts(batch, "network")["loss"])}, losses

    def _logits(self, batch: BatchLike) -> Tensor:
        logits: Tensor = self.network(forced(batch.inputs, self._learnt(batch)))
        return logits.float()

    def _learnt(self, batch: BatchLike) -> Tensor:
        target: Tensor = batch.target
        return target[:, : self._length]

    def _losses(self, logits: Tensor, batch: BatchLike, smoothing: float) -> Tensor:
        target = self._learnt(batch)
        return functional.cross_entropy(
            logits.flatten(0, 1),
            target.flatten(),
            ignore_index=PADDING,
            reduction="none",
            label_smoothing=smoothing,
        ).view(target.shape)


def forced(inputs: Mapping[str, Tensor], target: Tensor) -> dict[str, Tensor]:
    """Return inputs of a network with the token that stands before each of a target (B, n): the end at first."""
    first = torch.full_like(target[:, :1], END)
    return {**inputs, WRITTEN: torch.cat([first, target[:, :-1]], dim=1)}


def _weighted(losses: Tensor, batch: BatchLike) -> Tensor:
    return losses if batch.weight is None else losses * batch.weight.unsqueeze(1)
