"""Which sample belongs to training, validation and test: seeded, stratified or by groups."""

import numpy as np

from stoker.datasets.fields.category import as_text
from stoker.datasets.labels import Labels
from stoker.datasets.records import PARTS, Records
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset, Split

TINY = 1e-9
"""What the arithmetic of shares may be off, in samples."""


def choose_parts(records: Records, dataset: Dataset, labels: Labels) -> np.ndarray:
    """Choose a part for each sample as the job and the source say.

    Returns:
        (N,) of "train", "val", "test", or "" for samples left out.

    Raises:
        JobError: nothing is left to learn from, or a class is not among it.

    """
    split, group = dataset.split, dataset.columns.group
    if split == "none":
        return np.full(len(records), "train")
    strata = labels.values if split.stratify and labels.classes is not None else None
    if records.parts is not None:
        parts = complete_parts(records.parts, split, strata)
    elif group:
        parts = split_parts(split, len(records), groups=as_text(records.columns[group]).astype(str))
    else:
        parts = split_parts(split, len(records), strata)
    _check(parts, labels)
    return parts


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
    shares = np.array([split.train, split.val, split.test, 0.0])
    shares[3] = max(0.0, 1 - shares.sum())
    if groups is not None:
        return _split_groups(groups, shares, rng)
    parts = np.full(count, "", dtype="<U5")
    strata = [np.arange(count)] if classes is None else [np.flatnonzero(classes == c) for c in np.unique(classes)]
    sizes = part_sizes(np.array([len(rows) for rows in strata]), shares)
    for rows, of_class in zip(strata, sizes, strict=True):
        parts[rng.permutation(rows)] = np.repeat((*PARTS, ""), of_class)
    return parts


def part_sizes(counts: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Share out each class in whole samples.

    Every number is rounded up or down, whichever the part is owed more by the classes before, so that the totals come
    out right as well. A class keeps a training sample even where its share is less than one.

    Args:
        counts: (classes,) samples of each class.
        shares: (parts,) that add up to 1, training first.

    Returns:
        (classes, parts) that add up to `counts`.

    """
    wanted = np.outer(counts, shares)
    sizes = np.floor(wanted + TINY).astype(int)
    owed = np.zeros(len(shares))
    for want, size, count in zip(wanted, sizes, counts, strict=True):
        owed += want - size
        claims = np.where(want - size > TINY, owed, -np.inf)
        if size[0] == 0:
            claims[0] = np.inf
        chosen = np.argsort(-claims, kind="stable")[: count - size.sum()]
        size[chosen] += 1
        owed[chosen] -= 1
    return sizes


def complete_parts(given: np.ndarray, split: Split, classes: np.ndarray | None) -> np.ndarray:
    """Keep the parts that a source brings, and take a missing one from its training samples."""
    parts = given.astype("<U5")
    missing = {part: getattr(split, part) for part in ("val", "test") if part not in parts}
    train = np.flatnonzero(parts == "train")
    inner = split.model_copy(update={"train": 1 - sum(missing.values()), "val": 0.0, "test": 0.0, **missing})
    parts[train] = split_parts(inner, len(train), None if classes is None else classes[train])
    return parts


def _check(parts: np.ndarray, labels: Labels) -> None:
    known = set(labels.values[parts == "train"])
    if not known:
        raise JobError([Problem("dataset.split", f"no sample is left to learn from, of {len(parts)}")])
    unknown = [
        f"class '{name}' is in {part} ({count} sample{'s' if count > 1 else ''}) but not in train"
        for part in ("val", "test")
        for name, count in labels.counts(parts == part).items()
        if labels.classes is not None and count and name not in known
    ]
    if unknown:
        raise JobError([Problem("dataset.split", f"{message}; a network cannot learn it") for message in unknown])


def _split_groups(groups: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give each group, in random order, to the part that lacks most."""
    parts = np.full(len(groups), "", dtype="<U5")
    lacking = shares * len(groups)
    for group in rng.permutation(np.unique(groups)):
        rows = np.flatnonzero(groups == group)
        part = int(np.argmax(lacking))
        lacking[part] -= len(rows)
        parts[rows] = (*PARTS, "")[part]
    return parts
