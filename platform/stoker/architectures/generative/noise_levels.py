"""How images become noise, level by level, and what a network that takes it out again is asked for."""

import math
from abc import ABC, abstractmethod
from itertools import pairwise

import torch
from torch import Tensor, nn

FIRST, LAST = 1e-4, 0.02
"""Variances that the linear way adds to an image in its first and last step, of 1,000 (Ho et al. 2020)."""
OFFSET = 0.008
"""Of the cosine way (Nichol and Dhariwal 2021)."""
MOST = 0.999
"""Largest variance that a step of the cosine way adds."""


class NoiseLevels(nn.Module, ABC):
    """Levels of noise, and the target of the network on each of them."""

    @abstractmethod
    def noised(self, images: Tensor, noise: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Spoil images.

        Args:
            images: (B, ...).
            noise: of the same shape.
            share: (B,) from 0 to 1: which level each image is given.

        Returns:
            The spoilt images; (B,) the time that the network is told; what it is asked for, (B, ...); and (B,) the
            weight of each image while training.

        """


class Diffused(NoiseLevels):
    """Noise that is added step by step, so that the variance stays the same.

    Args:
        steps: number of levels.
        way: `linear` or `cosine`.
        predicts: `noise`, `x0` or `v`.
        min_snr: largest weight of a level by its signal-to-noise ratio; None: all weigh the same.

    """

    kept: Tensor

    def __init__(self, steps: int, way: str, predicts: str, min_snr: float | None) -> None:
        super().__init__()
        self.predicts, self.min_snr = predicts, min_snr
        self.betas = added(steps, way)
        """Variance that each step adds."""
        kept = (1 - torch.tensor(self.betas, dtype=torch.float64)).cumprod(dim=0)
        self.register_buffer("kept", kept.float(), persistent=False)

    def noised(self, images: Tensor, noise: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Spoil images."""
        levels = (share * len(self.kept)).long().clamp(max=len(self.kept) - 1)
        kept = self.kept[levels]
        signal, spoilt = (each.view(-1, *(1 for _ in images.shape[1:])) for each in (kept.sqrt(), (1 - kept).sqrt()))
        targets = {"noise": noise, "x0": images, "v": signal * noise - spoilt * images}
        return signal * images + spoilt * noise, levels.float(), targets[self.predicts], self._weights(kept)

    def _weights(self, kept: Tensor) -> Tensor:
        """Return the weights of the errors of the target, which are other than those of the image by its level."""
        if self.min_snr is None:
            return torch.ones_like(kept)
        ratio = kept / (1 - kept)
        of_image = ratio.clamp(max=self.min_snr)
        return {"noise": of_image / ratio, "x0": of_image, "v": of_image / (ratio + 1)}[self.predicts]


class Straight(NoiseLevels):
    """Straight lines from images to noise, on which the network is asked for the direction (Lipman et al. 2023).

    Args:
        steps: of the time that the network is told.

    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def noised(self, images: Tensor, noise: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Spoil images."""
        spoilt = share.view(-1, *(1 for _ in images.shape[1:]))
        return (1 - spoilt) * images + spoilt * noise, share * self.steps, noise - images, torch.ones_like(share)


def added(steps: int, way: str) -> list[float]:
    """Return the variance that each step adds to an image."""
    if way == "linear":
        scale = 1000 / steps
        return [
            min(float(beta), MOST) for beta in torch.linspace(FIRST * scale, LAST * scale, steps, dtype=torch.float64)
        ]
    kept = [math.cos((step / steps + OFFSET) / (1 + OFFSET) * math.pi / 2) ** 2 for step in range(steps + 1)]
    return [min(1 - after / before, MOST) for before, after in pairwise(kept)]
