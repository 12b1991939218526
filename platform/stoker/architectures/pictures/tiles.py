"""Large pictures in overlapping tiles."""

from collections.abc import Callable

import torch
from torch import Tensor

OVERLAP = 1 / 4
"""Least share of a tile's side that the next one sees, too."""


def in_tiles(compute: Callable[[Tensor], Tensor], images: Tensor, tile: tuple[int, int]) -> Tensor:
    """Return (B, outputs, height, width) for (B, channels, height, width) images, blended from overlapping tiles.

    A place counts the more, the farther it is from the border of its tile, where a network sees less around it.
    """
    height, width = images.shape[2:]
    sides = min(tile[0], height), min(tile[1], width)
    if sides == (height, width):
        return compute(images)
    weight = (ramp(sides[0], images)[:, None] * ramp(sides[1], images)[None, :]).to(torch.float32)
    total: Tensor | None = None
    weights = torch.zeros(height, width, device=images.device)
    for y, x in ((y, x) for y in starts(height, sides[0]) for x in starts(width, sides[1])):
        outputs = compute(images[:, :, y : y + sides[0], x : x + sides[1]]).float() * weight
        if total is None:
            total = outputs.new_zeros(len(images), outputs.shape[1], height, width)
        total[:, :, y : y + sides[0], x : x + sides[1]] += outputs
        weights[y : y + sides[0], x : x + sides[1]] += weight
    assert total is not None
    return total / weights


def starts(side: int, tile: int) -> list[int]:
    """Return where tiles begin that cover a side evenly, each with `OVERLAP` of the one before at least."""
    if side <= tile:
        return [0]
    count = 1 + -(-(side - tile) // max(1, round(tile * (1 - OVERLAP))))
    return [round(number * (side - tile) / (count - 1)) for number in range(count)]


def ramp(side: int, like: Tensor) -> Tensor:
    """Return (side,) weights that rise evenly from both ends to the middle."""
    places = torch.arange(side, device=like.device)
    return torch.minimum(places + 1, side - places)
