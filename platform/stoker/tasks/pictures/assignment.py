"""Assigns the true boxes of an image to the cells that shall propose them, by how well they do already."""

from dataclasses import dataclass

import torch
from torch import Tensor

CELLS = 10
"""Cells that learn a box."""
SCORE_POWER, OVERLAP_POWER = 0.5, 6.0
"""How much score and overlap of a proposal count (Jocher et al. 2023, YOLOv8; alpha and beta of Feng et al. 2021)."""
LEAST_QUALITY = 0.1
"""Of the best cell of a box that no proposal covers yet: it shall be learnt, too."""


@dataclass(frozen=True)
class Assignment:
    """What each cell shall learn."""

    box: Tensor
    """(B, cells) place of a box among the true ones; of any for a cell that learns none."""
    quality: Tensor
    """(B, cells) from 0 to 1, how much of it a cell shall see; 0 for a cell that learns none."""


def assign(output: Tensor, target: Tensor) -> Assignment:
    """Assign true boxes to cells (task alignment, Feng et al. 2021): each image by itself, and without a gradient.

    The cells in a box, and the one closest to its middle, compete for it by the score of its class and the overlap of
    their proposal with it. A cell that several boxes win goes to the one it overlaps most.

    Args:
        output: (B, cells, 6 + classes) proposals.
        target: (B, most, 5) true boxes, padded with 0.

    """
    there = target[..., 0] > 0
    overlap = overlaps(target[..., 1:], output[..., 2:6])
    classes = (target[..., 0].long() - 1).clamp(min=0)
    scores = output[..., 6:].sigmoid().transpose(1, 2)
    score = scores.gather(1, classes.unsqueeze(2).expand(-1, -1, scores.shape[2]))
    may = _candidates(output[..., :2], target[..., 1:]) & there.unsqueeze(2)
    fit = (score**SCORE_POWER * overlap**OVERLAP_POWER + torch.finfo(overlap.dtype).tiny) * may
    best = fit.topk(min(CELLS, fit.shape[2]), dim=2)
    won = torch.zeros_like(fit, dtype=torch.bool).scatter_(2, best.indices, best.values > 0)
    preferred = torch.where(won, overlap, -1.0)
    box = preferred.argmax(dim=1)
    learns = preferred.gather(1, box.unsqueeze(1)).squeeze(1) >= 0
    own = torch.zeros_like(won).scatter_(1, box.unsqueeze(1), learns.unsqueeze(1))
    fit, overlap = fit * own, overlap * own
    largest = overlap.amax(dim=2, keepdim=True).clamp(min=LEAST_QUALITY)
    quality = fit / fit.amax(dim=2, keepdim=True).clamp(min=torch.finfo(fit.dtype).tiny) * largest
    return Assignment(box, quality.sum(dim=1))


def overlaps(first: Tensor, second: Tensor) -> Tensor:
    """Return (B, n, m) the shares of their joint area that boxes (B, n, 4) and (B, m, 4) have in common."""
    a, b = first.unsqueeze(2), second.unsqueeze(1)
    sides = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0)
    common = sides.prod(dim=3)
    areas = [(each[..., 2:] - each[..., :2]).prod(dim=3) for each in (a, b)]
    return common / (areas[0] + areas[1] - common).clamp(min=torch.finfo(first.dtype).tiny)


def _candidates(places: Tensor, boxes: Tensor) -> Tensor:
    """Return (B, boxes, cells) whether a cell lies in a box, or closest to its middle."""
    x, y = places.unsqueeze(1).unbind(3)
    left, top, right, bottom = boxes.unsqueeze(2).unbind(3)
    inside = (x > left) & (x < right) & (y > top) & (y < bottom)
    away = (x - (left + right) / 2) ** 2 + (y - (top + bottom) / 2) ** 2
    return inside.scatter(2, away.argmin(dim=2, keepdim=True), True)
