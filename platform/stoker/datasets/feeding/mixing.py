"""Mixes the images of a batch with others of it, and their labels in the same shares."""

from dataclasses import dataclass

import torch

from stoker.datasets.pictures.rectangles import inside_rectangles
from stoker.randomness import Noise, generator


@dataclass(frozen=True)
class Mixing:
    """How images are mixed: the parameter of the beta distribution of either way, 0 for not at all."""

    mixup: float
    """Of adding up two images (Zhang et al. 2018)."""
    cutmix: float
    """Of putting a rectangle of one into the other (Yun et al. 2019)."""

    def __bool__(self) -> bool:
        return bool(self.mixup or self.cutmix)

    def mixed(self, images: torch.Tensor, others: torch.Tensor, noise: Noise) -> tuple[torch.Tensor, torch.Tensor]:
        """Mix (B, channels, height, width) images with others; return them, and (B,) shares of the first ones."""
        coin, x, y = noise.uniform(3).unbind(1)
        cut = coin < (0.0 if not self.cutmix else 0.5 if self.mixup else 1.0)
        added = noise.beta(self.mixup) if self.mixup else torch.ones_like(coin)
        side = (1 - noise.beta(self.cutmix)).sqrt() if self.cutmix else torch.zeros_like(coin)
        inside = inside_rectangles(images, side, side, x, y)
        shares = torch.where(cut, 1 - inside.float().mean(dim=(1, 2)), added)  # a rectangle has whole pixels
        kept = torch.where(cut.view(-1, 1, 1), (~inside).to(images.dtype), added.view(-1, 1, 1))
        return torch.lerp(others, images, kept.unsqueeze(1)), shares


UNMIXED = Mixing(0.0, 0.0)


def partners(total: int, *key: int | str) -> torch.Tensor:
    """Return for each row of a global batch the one that it is mixed with: a function of the key alone.

    All workers draw the same order of the whole batch, so that the result does not depend on how it is divided.
    """
    return torch.randperm(total, generator=generator(*key, "partners"))
