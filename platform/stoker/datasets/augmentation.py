"""Random changes of pictures, drawn for each sample."""

import math

import torch
from torch.nn import functional

from stoker.randomness import Noise

SHIFT = 1 / 8
"""Farthest shift of `crop`, as a share of the side."""
TURN = math.radians(15)
BRIGHTNESS = 0.25
"""Largest change of brightness of `jitter`, in standard deviations of the training set."""
CONTRAST = 0.2


def augment(pictures: torch.Tensor, names: tuple[str, ...], noise: Noise) -> torch.Tensor:
    """Change each picture of (B, channels, height, width) in its own way.

    All movements are one affine sampling; what comes in from outside repeats the border.
    """
    if not names or len(pictures) == 0:
        return pictures
    flip, right, down, turn, bright, contrast = noise.uniform(6).unbind(1)
    if {"flip", "crop", "rotate"} & set(names):
        still = torch.zeros_like(flip)
        mirror = torch.where(flip < 0.5, -1.0, 1.0) if "flip" in names else still + 1
        angle = (turn * 2 - 1) * TURN if "rotate" in names else still
        height, width = pictures.shape[2:]
        x = _shift(right, width) if "crop" in names else still
        y = _shift(down, height) if "crop" in names else still
        cos, sin = angle.cos(), angle.sin()
        aspect = height / width  # affine_grid measures both sides as 2; a turn must not stretch the picture
        matrix = torch.stack([cos * mirror, -sin * aspect, x, sin * mirror / aspect, cos, y], dim=1).view(-1, 2, 3)
        grid = functional.affine_grid(matrix, list(pictures.shape), align_corners=False)
        moved = functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
        pictures = moved.contiguous(memory_format=torch.channels_last)
    if "jitter" in names:
        factor = (1 + (contrast * 2 - 1) * CONTRAST).view(-1, 1, 1, 1)
        offset = ((bright * 2 - 1) * BRIGHTNESS).view(-1, 1, 1, 1)
        pictures = pictures * factor + offset
    return pictures


def _shift(uniform: torch.Tensor, side: int) -> torch.Tensor:
    """Choose whole pixels, in affine_grid's unit of half the side."""
    most = max(1, round(side * SHIFT))
    pixels = (uniform * (2 * most + 1)).floor() - most
    return pixels * 2 / side
