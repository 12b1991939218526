"""Changes of images through which gradients flow: a discriminator sees real and made ones changed alike."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from stoker.tasks.objective import NoiseLike

SHIFT = 1 / 8
"""Most of its height or width by which an image is shifted; its border is repeated (Zhao et al. 2020)."""
HOLE = 1 / 2
"""Height and width of the part that is cut out, of those of the image."""


def augmented(sets: Sequence[Tensor], noise: NoiseLike) -> tuple[Tensor, ...]:
    """Return sets of images (B, channels, height, width), changed alike: row i of all by row i of the noise.

    They are shifted, with a part cut out and, where they are coloured, of another brightness, saturation and contrast
    (DiffAugment, Zhao et al. 2020).
    """
    height, width = sets[0].shape[2:]
    light = noise.uniform(3, 1, 1, 1)
    places = noise.uniform(4)
    down = _shift(places[:, 0], height)
    right = _shift(places[:, 1], width).mT
    shown = 1 - _hole(places[:, 2], height)[:, :, None] * _hole(places[:, 3], width)[:, None, :]
    return tuple((down @ _lit(images, light) @ right) * shown[:, None] for images in sets)


def _lit(images: Tensor, light: Tensor) -> Tensor:
    if images.shape[1] == 1:
        return images
    brightness, saturation, contrast = light.unbind(1)
    images = images + (brightness - 0.5)
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * (2 * saturation)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (images - mean) * (contrast + 0.5)


def _shift(share: Tensor, side: int) -> Tensor:
    """Return (B, 1, side, side) matrices that take each line from another one."""
    most = round(side * SHIFT)
    by = (share * (2 * most + 1)).long() - most
    lines = (torch.arange(side, device=share.device) + by[:, None]).clamp(0, side - 1)
    return functional.one_hot(lines, side).to(share.dtype)[:, None]


def _hole(share: Tensor, side: int) -> Tensor:
    """Return (B, side): 1 for the lines that are cut out, 0 for all others; at the border fewer are."""
    size = round(side * HOLE)
    begin = (share * (side + 1)).long() - size // 2
    lines = torch.arange(side, device=share.device)
    return ((lines >= begin[:, None]) & (lines < begin[:, None] + size)).to(share.dtype)
