"""Pairs of boxes that are found and true ones, at one score and one overlap: what is right, missed and invented."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from stoker.tasks.pictures.average_precision import Picture
from stoker.tasks.pictures.detections import Limits

OVERLAP = 0.5
"""Of a pair."""
SCORE = Limits().score
"""Lowest score of a box that takes part."""


def pairs(picture: Picture, least: float = SCORE) -> list[tuple[int, int]]:
    """Return the classes of true and found boxes that lie on each other, counted from 0; -1 where one is alone.

    The found box with the highest score chooses first: the true one that it overlaps most, whatever its class. Found
    boxes come first, in their own order.
    """
    found, true = picture
    found = found[found[:, 1] >= least]
    overlap = overlaps(found[:, 2:], true[:, 1:])
    free = np.ones(len(true), bool)
    matched = []
    for box, row in zip(found, overlap, strict=True):
        mine = np.where(free, row, 0.0)
        best = int(mine.argmax()) if len(mine) else -1
        if best >= 0 and mine[best] >= OVERLAP:
            free[best] = False
            matched.append((int(true[best, 0]) - 1, int(box[0])))
        else:
            matched.append((-1, int(box[0])))
    return matched + [(int(box[0]) - 1, -1) for box in true[free]]


def best_score(pictures: Sequence[Picture]) -> float:
    """Return the lowest score of a box with which the F1 of all boxes together is best; NaN if none is right."""
    ranked = []
    for picture in pictures:
        scores = picture[0][:, 1].tolist()
        ranked += [(score, true == found) for score, (true, found) in zip(scores, pairs(picture, 0.0), strict=False)]
    ranked.sort(key=lambda each: -each[0])
    right = np.cumsum([hit for _, hit in ranked])
    if not len(right) or not right[-1]:
        return math.nan
    f1 = 2 * right / (np.arange(1, len(right) + 1) + sum(len(true) for _, true in pictures))
    best = int(f1.argmax())
    following = ranked[best + 1][0] if best + 1 < len(ranked) else ranked[best][0]
    return float((ranked[best][0] + following) / 2)


def error(picture: Picture) -> float:
    """Return one minus the F1 of the boxes of a picture; 0 where there is nothing and nothing is found."""
    matched = pairs(picture)
    right = sum(true == found for true, found in matched)
    wrong = sum((true != found) * ((true >= 0) + (found >= 0)) for true, found in matched)
    return wrong / (2 * right + wrong) if matched else 0.0


def described(picture: Picture) -> str:
    """Return in words what was found of a picture."""
    matched = pairs(picture)
    right = sum(true == found for true, found in matched)
    invented = sum(found >= 0 and true != found for true, found in matched)
    return f"{right} of {len(picture[1])} found" + (f", {invented} wrong" if invented else "")


def confusion(pictures: Sequence[Picture], classes: int) -> torch.Tensor:
    """Return (classes + 1, classes + 1) how many boxes of each class (row) were found as each; the last is none."""
    counts = torch.zeros(classes + 1, classes + 1, dtype=torch.int64)
    for picture in pictures:
        for true, found in pairs(picture):
            counts[true, found] += 1
    return counts


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return (n, m) the shares of their joint area that boxes (n, 4) and (m, 4) have in common."""
    a, b = first[:, None], second[None]
    sides = (np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])).clip(min=0)
    common = sides.prod(axis=2)
    areas = [(each[..., 2:] - each[..., :2]).prod(axis=2) for each in (a, b)]
    together: np.ndarray = common / np.maximum(areas[0] + areas[1] - common, np.finfo(np.float32).tiny)
    return together
