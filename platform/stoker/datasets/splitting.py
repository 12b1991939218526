"""Which sample belongs to training, validation and test: seeded, stratified or by groups."""

import numpy as np

from stoker.datasets.samples import PARTS
from stoker.spec.dataset import Split


def split_parts(
    split: Split, count: int, classes: np.ndarray | None = None, groups: np.ndarray | None = None
) -> np.ndarray:
    """Choose a part for each sample.

    Args:
        split: shares and seed.
        count: number of samples.
        classes: (count,) class of each sample, whose shares are kept equal in all parts.
        groups: (count,) group of each sample; a group stays in one part (and is then not stratified).

    Returns:
        (count,) of "train", "val", "test", or "" for samples left out by shares below 1.

    """
    rng = np.random.default_rng([split.seed, count])
    shares = np.array([split.train, split.val, split.test])
    parts = np.full(count, "", dtype="<U5")
    if groups is not None:
        _split_groups(parts, groups, shares, rng)
        return parts
    strata = [np.arange(count)] if classes is None else [np.flatnonzero(classes == c) for c in np.unique(classes)]
    owed = np.zeros(3)  # what rounding has kept from each part so far, so that the totals come out right
    for rows in strata:
        wanted = shares * len(rows) + owed
        sizes = _round(wanted, len(rows))
        owed = wanted - sizes
        shuffled = rng.permutation(rows)
        for part, size, start in zip(PARTS, sizes, np.cumsum([0, *sizes]), strict=False):
            parts[shuffled[start : start + size]] = part
    return parts


def complete_parts(given: np.ndarray, split: Split, classes: np.ndarray | None) -> np.ndarray:
    """Keep the parts that a source brings, and take a missing one from its training samples."""
    parts = given.astype("<U5")
    missing = [part for part in ("val", "test") if part not in parts]
    train = np.flatnonzero(parts == "train")
    shares = {part: getattr(split, part) for part in missing}
    inner = Split(
        train=1 - sum(shares.values()), val=shares.get("val", 0.0), test=shares.get("test", 0.0), seed=split.seed
    )
    parts[train] = split_parts(inner, len(train), None if classes is None else classes[train])
    return parts


def _split_groups(parts: np.ndarray, groups: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> None:
    """Give each group, in random order, to the part that lacks most."""
    lacking = shares * len(groups)
    for group in rng.permutation(np.unique(groups)):
        rows = np.flatnonzero(groups == group)
        part = int(np.argmax(lacking))
        lacking[part] -= len(rows)
        parts[rows] = PARTS[part]


def _round(wanted: np.ndarray, total: int) -> np.ndarray:
    """Round shares down and give what is left to the largest remainders, training first among equals."""
    wanted = np.clip(wanted, 0, None)
    sizes = np.floor(wanted + 1e-9).astype(int)
    if sizes[0] == 0 and total:
        sizes[0] = 1  # no class without a training sample
    while sizes.sum() > total:
        sizes[int(np.argmax(sizes[1:])) + 1] -= 1
    spare = min(total, round(float(wanted.sum()))) - int(sizes.sum())
    for index in np.argsort(-(wanted - sizes), kind="stable")[: max(spare, 0)]:
        sizes[index] += 1
    return sizes
