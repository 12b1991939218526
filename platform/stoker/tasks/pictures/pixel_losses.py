"""What is minimised where each pixel has a class: cross-entropy and Dice."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.job.signature import IGNORED
from stoker.tasks.abilities import can_decode
from stoker.tasks.objective import BatchLike, Count, Loss, NoiseLike, OneNetwork, weighted_count

SMOOTH = 1.0
"""Pixels added to both sides of the Dice fraction, so that it is defined where a class is absent."""


class PixelLosses(OneNetwork):
    """Cross-entropy of the pixels, and the soft Dice loss of each image (Milletari 2016); both count the same.

    Weights of classes and label smoothing are for the cross-entropy alone: Dice is a mean over the classes already.

    Args:
        network: returns (B, classes, height, width) logits.
        class_weights: (classes,) weight of a pixel by its class; None where all weigh 1.
        smoothing: share of each label that is spread over all classes.
        ignores: whether targets may be IGNORED.

    """

    class_weights: Tensor | None

    def __init__(
        self,
        network: nn.Module,
        class_weights: Tensor | None = None,
        smoothing: float = 0.0,
        ignores: bool = False,
    ) -> None:
        super().__init__(network)
        self._ignores = ignores
        self.register_buffer("class_weights", class_weights, persistent=False)
        self._smoothing = smoothing

    def counts(self, batch: BatchLike, turn: str) -> dict[str, Count]:
        """Count pixels for the cross-entropy, images for Dice; an image's weight goes for all its pixels."""
        images: Count = weighted_count(batch)
        pixels = images * batch.target[0:1].numel() if len(batch) else images
        if self._ignores or self.class_weights is not None:
            weights = weight_of_pixels(batch.target, self.class_weights).sum(dim=(1, 2))
            pixels = (weights if batch.weight is None else weights * batch.weight).sum()
        return {"cross_entropy": pixels, "soft_dice": images}

    def forward(self, batch: BatchLike, turn: str, noise: NoiseLike) -> dict[str, Tensor]:
        """Return both terms."""
        return self._sums(self.network(batch.inputs), batch)

    def evaluate(self, batch: BatchLike, noise: NoiseLike) -> tuple[dict[str, Loss], Tensor | None]:
        """Return both terms of the logits, or of what the network decodes."""
        network = self.network
        output = network.decode(batch.inputs, noise) if can_decode(network) else network(batch.inputs)
        counts = self.counts(batch, "network")
        losses = {term: Loss(total, counts[term]) for term, total in self._sums(output, batch).items()}
        return losses, output

    def _sums(self, output: Tensor, batch: BatchLike) -> dict[str, Tensor]:
        entropy, dice = pixel_losses(output.float(), batch.target, self.class_weights, self._smoothing, self._ignores)
        if batch.weight is not None:
            entropy, dice = entropy * batch.weight, dice * batch.weight
        return {"cross_entropy": entropy.sum(), "soft_dice": dice.sum()}


def weight_of_pixels(target: Tensor, class_weights: Tensor | None) -> Tensor:
    """Return (B, height, width) weights of pixels in the cross-entropy, 0 where they are ignored."""
    known = target != IGNORED
    if class_weights is None:
        return known.float()
    return class_weights[torch.where(known, target, 0).long()] * known


def pixel_losses(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    smoothing: float = 0.0,
    ignores: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy summed over pixels, and one minus the soft Dice over the foreground classes, both (B,).

    Args:
        logits: (B, classes, height, width).
        target: (B, height, width) class numbers; 0 is the background.
        class_weights: (classes,) weight of each pixel's cross-entropy by its class; None where all weigh 1.
        smoothing: share of each label that is spread over all classes in the cross-entropy.
        ignores: whether targets may be IGNORED; such pixels are in neither.

    """
    known = target != IGNORED if ignores else None
    places = target.long() if known is None else torch.where(known, target, 0).long()
    log_shares = functional.log_softmax(logits, dim=1)
    pixels = functional.nll_loss(log_shares, places, reduction="none")
    if smoothing:
        pixels = (1 - smoothing) * pixels - smoothing * log_shares.mean(dim=1)
    if ignores or class_weights is not None:
        pixels = pixels * weight_of_pixels(target, class_weights)
    entropy = pixels.sum(dim=(1, 2))
    shares = log_shares.exp()
    true = functional.one_hot(places, logits.shape[1]).movedim(-1, 1).to(shares.dtype)
    if known is not None:
        shares, true = shares * known.unsqueeze(1), true * known.unsqueeze(1)
    both = (shares * true).sum(dim=(2, 3))
    either = shares.sum(dim=(2, 3)) + true.sum(dim=(2, 3))
    dice = (2 * both + SMOOTH) / (either + SMOOTH)
    return entropy, 1 - dice[:, 1:].mean(dim=1)
