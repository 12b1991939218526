"""Learning what follows each token of a text."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.datasets.tokens.tokenizer import PADDING
from stoker.tasks.abilities import CanCarry
from stoker.tasks.objective import BatchLike, Count, Loss, NoiseLike, Supervised


class NextToken(Supervised):
    """Cross-entropy of each token in nats; every token weighs the same, or as its sample does.

    Args:
        network: returns (B, length, vocabulary) logits.
        token_bytes: (vocabulary,) bytes of text that each token stands for; None where bytes are not measured.
        smoothing: share of each token that is spread over all of the vocabulary.

    """

    token_bytes: Tensor | None

    def __init__(self, network: nn.Module, token_bytes: Tensor | None, smoothing: float = 0.0) -> None:
        super().__init__(network)
        bytes_of = None if token_bytes is None else token_bytes.float()
        self.register_buffer("token_bytes", bytes_of, persistent=False)  # the fields have them already
        self._smoothing = smoothing

    def counts(self, batch: BatchLike, turn: str) -> dict[str, Count]:
        """Count the tokens to learn, or their samples' weights."""
        learnt = (batch.target != PADDING).float()
        return {"loss": (learnt if batch.weight is None else learnt * batch.weight.unsqueeze(1)).sum()}

    def losses(self, output: Tensor, batch: BatchLike) -> Tensor:
        """Return (B, length) losses of each token, 0 for padding."""
        return _cross_entropy(output, batch.target, self._smoothing, "none").view(batch.target.shape)

    def total(self, output: Tensor, batch: BatchLike) -> Tensor:
        """Return the sum of `losses`, by their samples' weights."""
        if batch.weight is None:
            return _cross_entropy(output, batch.target, self._smoothing, "sum")
        return _weighted(self.losses(output, batch), batch)

    def forward(self, batch: BatchLike, turn: str, noise: NoiseLike) -> dict[str, Tensor]:
        """Return the sum over all tokens."""
        return {"loss": self.total(self.network(batch.inputs).float(), batch)}

    def evaluate(self, batch: BatchLike, noise: NoiseLike) -> tuple[dict[str, Loss], Tensor | None]:
        """Return the loss of a token and the bits of a byte; for metrics the (B, length) losses, without smoothing."""
        logits = self.network(batch.inputs).float()
        losses = _cross_entropy(logits, batch.target, 0.0, "none").view(batch.target.shape)
        terms = {"loss": Loss(_weighted(losses, batch), self.counts(batch, "network")["loss"])}
        if self.token_bytes is not None:
            terms["bits_per_byte"] = Loss(losses.sum() / math.log(2), self.token_bytes[batch.target].sum())
        return terms, losses


class CarriedNextToken(NextToken):
    """The same for a network that reads on from batch to batch: truncated back-propagation through time.

    Gradients end at the border of two batches, the memory does not (Williams and Peng 1990).
    """

    order = "streams"
    carried = ("memory",)
    memory: Tensor
    network: CanCarry  # type: ignore[assignment] # a module with this ability

    def __init__(self, network: nn.Module, token_bytes: Tensor, smoothing: float = 0.0) -> None:
        super().__init__(network, token_bytes, smoothing)
        self.register_buffer("memory", self.network.begin(0))

    def begin_epoch(self, rows: int) -> None:
        """Forget what was read."""
        self.memory = torch.zeros(rows, *self.network.carried_shape, device=self.memory.device)

    def forward(self, batch: BatchLike, turn: str, noise: NoiseLike) -> dict[str, Tensor]:
        """Return the sum over all tokens, and remember them."""
        (tokens,) = batch.inputs.values()
        logits, after = self.network.read(tokens, self.memory[batch.rows].clone())
        self.memory[batch.rows] = after.detach().float()
        return {"loss": self.total(logits.float(), batch)}


def _cross_entropy(output: Tensor, target: Tensor, smoothing: float, reduction: Literal["none", "sum"]) -> Tensor:
    """Return the losses of (B, length, vocabulary) logits for the tokens to learn, (B * length,) or their sum."""
    return functional.cross_entropy(
        output.flatten(0, 1),
        target.flatten(),
        ignore_index=PADDING,
        reduction=reduction,
        label_smoothing=smoothing,
    )


def _weighted(losses: Tensor, batch: BatchLike) -> Tensor:
    return losses.sum() if batch.weight is None else (losses * batch.weight.unsqueeze(1)).sum()
