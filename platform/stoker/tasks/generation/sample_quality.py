"""How good a set of made samples is beside a set of real ones, by (N, width) features of both in double precision."""

from collections.abc import Iterator

import torch
from torch import Tensor

NEIGHBOURS = 3
"""The neighbour of a sample up to which its surroundings reach (Kynkaanniemi et al. 2019)."""
CHUNK = 1024
"""Rows whose distances are computed at once."""
COPIED = 0.01
"""Share of the real held-out images that are at least as near to a training image as a sample that counts as copied."""
SAME = 1e-4
"""Distances below this share of the spread of the training images are those of an image to itself."""


def kernel_distance(made: Tensor, real: Tensor) -> float:
    """Return the unbiased squared maximum mean discrepancy with a cubic kernel (Binkowski et al. 2018).

    It is that of all pairs rather than a mean over random subsets, which is the same in the mean and varies more.
    """
    if min(len(made), len(real)) < 2:
        return float("nan")
    own = (_kernel_sum(each, each) - float(_kernel_of_itself(each).sum()) for each in (made, real))
    within = sum(total / (len(each) * (len(each) - 1)) for total, each in zip(own, (made, real), strict=True))
    return within - 2 * _kernel_sum(made, real) / (len(made) * len(real))


def precision_and_recall(made: Tensor, real: Tensor) -> tuple[float, float]:
    """Return the share of made samples in the surroundings of a real one, and of real ones in those of a made one."""
    if min(len(made), len(real)) <= NEIGHBOURS:
        return float("nan"), float("nan")
    return _covered(made, real), _covered(real, made)


def mean_distance(features: Tensor) -> float:
    """Return the mean distance of all pairs; NaN without a pair."""
    count = len(features)
    if count < 2:
        return float("nan")
    total = sum(float(distances.sum()) for distances in _distances(features, features))
    return total / (count * (count - 1))


def diversity(made: Tensor, real: Tensor, classes: Tensor) -> float:
    """Return the smallest ratio, over the classes, of the mean distance of made samples to that of real ones.

    Args:
        made: features of samples.
        real: features of as many real images.
        classes: (N,) of both.

    Returns:
        NaN where no class has two images that differ.

    """
    ratios = []
    for number in sorted(set(classes.tolist())):
        rows = classes == number
        if (usual := mean_distance(real[rows])) > 0:
            ratios.append(mean_distance(made[rows]) / usual)
    return min(ratios, default=float("nan"))


def memorised(made: Tensor, real: Tensor, training: Tensor) -> float:
    """Return the share of made samples that are nearer to a training image than nearly all held-out images are.

    Samples that are as new as held-out images have about `COPIED`.

    Args:
        made: features of samples.
        real: features of held-out images.
        training: features of training images.

    Returns:
        NaN where the held-out images are the training images.

    """
    if min(len(made), len(real), len(training)) < 1:
        return float("nan")
    limit = _nearest(real, training).quantile(COPIED)
    spread = training.var(dim=0, correction=0).sum().sqrt()
    if limit <= SAME * spread:
        return float("nan")
    return float((_nearest(made, training) < limit).double().mean())


def _kernel_sum(one: Tensor, other: Tensor) -> float:
    return sum(float((part @ other.T / one.shape[1] + 1).pow(3).sum()) for part in torch.split(one, CHUNK))


def _kernel_of_itself(rows: Tensor) -> Tensor:
    return (rows.square().sum(dim=1) / rows.shape[1] + 1).pow(3)


def _covered(points: Tensor, centres: Tensor) -> float:
    """Return the share of points within reach of a centre: as far as the centre's k-th neighbour among the centres."""
    reach = torch.cat(
        [each.topk(NEIGHBOURS + 1, dim=1, largest=False).values[:, -1] for each in _distances(centres, centres)]
    )
    return float(torch.cat([(each <= reach).any(dim=1) for each in _distances(points, centres)]).double().mean())


def _nearest(points: Tensor, others: Tensor) -> Tensor:
    return torch.cat([each.min(dim=1).values for each in _distances(points, others)])


def _distances(one: Tensor, other: Tensor) -> Iterator[Tensor]:
    """Yield (CHUNK, N) distances between rows."""
    for part in torch.split(one, CHUNK):
        yield torch.cdist(part, other, compute_mode="use_mm_for_euclid_dist")
