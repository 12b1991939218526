"""Answers about an image from it and its mirror image."""

from collections.abc import Callable

from torch import Tensor, nn


def answer(network: nn.Module, compute: Callable[[Tensor], Tensor], image: Tensor, mirrored: bool) -> Tensor:
    """Return what is computed of images; with `mirrored`, in evaluation, the mean of it and of their mirror images.

    Args:
        network: that computes; while it trains, augmentation mirrors images.
        compute: returns (B, outputs) of images.
        image: (B, channels, height, width).
        mirrored: whether to see both.

    """
    if not mirrored or network.training:
        return compute(image)
    return (compute(image) + compute(image.flip(3))) / 2
