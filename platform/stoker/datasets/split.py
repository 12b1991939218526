"""Splits samples into training, validation and test: seeded, stratified, by groups, by time or by a column."""

import numpy as np
import pandas as pd

from stoker.datasets.fields.category import as_text
from stoker.datasets.folders import PART_NAMES
from stoker.datasets.records import PARTS, RawColumn, Records
from stoker.datasets.values.labels import Labels
from stoker.datasets.values.times import read_times
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset, Split

TOLERANCE = 1e-9
"""Tolerance of the rounding of shares, in samples."""


def choose_parts(records: Records, dataset: Dataset, labels: Labels) -> np.ndarray:
    """Choose a part for each sample, from the job's settings and the source.

    Returns:
        (N,) of "train", "val", "test", or "" for samples left out.

    Raises:
        JobError: there are no training samples, they lack a class, or a row has no part or time.

    """
    split, group, groups = dataset.split, dataset.columns.group, labels.groups
    if split == "none":
        return np.full(len(records), "train")
    strata = labels.values if split.stratify and labels.classes is not None else None
    times = read_times(records.columns[split.time], split.time) if split.time else None
    if split.column:
        parts = read_parts(records.columns[split.column], split.column)
    elif records.parts is not None:
        parts = complete_parts(records.parts, split, strata, times, groups)
    elif times is not None:
        parts = split_parts(split, len(records), times=times)
    elif group or groups is not None:
        groups = as_text(records.columns[group]).astype(str) if group else groups
        parts = split_parts(split, len(records), groups=groups)
    else:
        parts = split_parts(split, len(records), strata)
    if labels.odd is not None:
        parts = without_odd(parts, labels.odd, split, fixed=bool(split.column or records.parts is not None))
    _check(parts, labels)
    return parts


def without_odd(parts: np.ndarray, odd: np.ndarray, split: Split, fixed: bool) -> np.ndarray:
    """Return the parts without samples to learn from that are not normal.

    Args:
        parts: (N,) part of each sample.
        odd: (N,) whether it is not normal.
        split: shares and seed.
        fixed: whether the data itself says which part a sample belongs to; then such a sample is left out, otherwise it
            is for validation or test.

    """
    rows = np.flatnonzero(odd & (parts == "train"))
    parts = parts.copy()
    parts[rows] = ""
    others = split.val + split.test
    if fixed or not others:
        return parts
    rng = np.random.default_rng([split.seed, len(parts)])
    for_val = round(len(rows) * split.val / others)
    parts[rng.permutation(rows)] = np.repeat(["val", "test"], [for_val, len(rows) - for_val])
    return parts


def split_parts(
    split: Split,
    count: int,
    classes: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    times: np.ndarray | None = None,
) -> np.ndarray:
    """Choose a part for each sample.

    Args:
        split: shares and seed.
        count: number of samples.
        classes: (count,) class of each sample, to stratify by.
        groups: (count,) group of each sample; a group stays in one part, without stratification.
        times: (count,) time of each sample; the parts follow one another in time, without stratification.

    Returns:
        (count,) of "train", "val", "test", or "" for samples left out by shares below 1.

    """
    rng = np.random.default_rng([split.seed, count])
    shares = np.array([split.train, split.val, split.test, 0.0])
    shares[3] = max(0.0, 1 - shares.sum())
    if groups is not None:
        return _split_groups(groups, shares, rng)
    if times is not None:
        return _split_times(times, shares)
    parts = np.full(count, "", dtype="<U5")
    names = [] if classes is None else sorted(pd.unique(classes))
    strata = [np.flatnonzero(classes == name) for name in names] or [np.arange(count)]
    sizes = part_sizes(np.array([len(rows) for rows in strata]), shares)
    for rows, of_class in zip(strata, sizes, strict=True):
        parts[rng.permutation(rows)] = np.repeat((*PARTS, ""), of_class)
    return parts


def part_sizes(counts: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Divide each class in whole samples.

    Rounding errors are carried over to the next classes, so that the totals of the parts are right as well. A class
    keeps a training sample even if its share is less than one.

    Args:
        counts: (classes,) samples of each class.
        shares: (parts,) summing to 1, training first.

    Returns:
        (classes, parts), rows summing to `counts`.

    """
    wanted = np.outer(counts, shares)
    sizes = np.floor(wanted + TOLERANCE).astype(int)
    owed = np.zeros(len(shares))
    for want, size, count in zip(wanted, sizes, counts, strict=True):
        owed += want - size
        claims = np.where(want - size > TOLERANCE, owed, -np.inf)
        if size[0] == 0:
            claims[0] = np.inf
        chosen = np.argsort(-claims, kind="stable")[: count - size.sum()]
        size[chosen] += 1
        owed[chosen] -= 1
    return sizes


def complete_parts(
    given: np.ndarray,
    split: Split,
    classes: np.ndarray | None,
    times: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Return the parts of a source, with missing ones taken from its training samples."""
    parts = given.astype("<U5")
    missing = {part: getattr(split, part) for part in ("val", "test") if part not in parts}
    train = np.flatnonzero(parts == "train")
    inner = split.model_copy(update={"train": 1 - sum(missing.values()), "val": 0.0, "test": 0.0, **missing})
    inner_classes, inner_groups, inner_times = (
        None if each is None else each[train] for each in (classes, groups, times)
    )
    parts[train] = split_parts(inner, len(train), inner_classes, inner_groups, inner_times)
    return parts


def read_parts(column: RawColumn, name: str) -> np.ndarray:
    """Read a column with the part of each row.

    Returns:
        (N,) of "train", "val", "test".

    Raises:
        JobError: a row names none of them.

    """
    words = as_text(column)
    parts = np.array([PART_NAMES.get(str(word).strip().lower(), "") for word in words], dtype="<U5")
    if len(bad := np.flatnonzero(parts == "")):
        first, cure = int(bad[0]), "write train, val or test there, or remove the row"
        found = "there is no part" if words[first] is None else f"'{words[first]}' is not a part"
        raise JobError([Problem("dataset.split.column", f"row {first + 1}, column '{name}': {found}; {cure}")])
    return parts


def _check(parts: np.ndarray, labels: Labels) -> None:
    known = set(labels.values[parts == "train"])
    if not known:
        raise JobError([Problem("dataset.split", f"no sample is left to learn from, of {len(parts)}")])
    unknown = [
        f"class '{name}' is in {part} ({count} sample{'s' if count > 1 else ''}) but not in train"
        for part in ("val", "test")
        for name, count in labels.counts(parts == part).items()
        if labels.classes is not None and labels.odd is None and count and name not in known
    ]
    if unknown:
        cure = "a network cannot learn it; move some of them to train, or remove them"
        raise JobError([Problem("dataset.split", f"{message}; {cure}") for message in unknown])


def _split_groups(groups: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Assign each group, in random order, to the part with the most samples missing."""
    parts = np.full(len(groups), "", dtype="<U5")
    lacking = shares * len(groups)
    for group in rng.permutation(np.unique(groups)):
        rows = np.flatnonzero(groups == group)
        part = int(np.argmax(lacking))
        lacking[part] -= len(rows)
        parts[rows] = (*PARTS, "")[part]
    return parts


def _split_times(times: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Cut the samples in order of time, as close to the shares as possible without dividing equal times."""
    _, place, counts = np.unique(times, return_inverse=True, return_counts=True)
    ends = np.concatenate([[0], counts.cumsum()])
    wanted = shares.cumsum()[:-1] * len(times) + TOLERANCE  # of two equally close cuts, prefer the later one
    cuts = np.abs(ends - wanted[:, None]).argmin(axis=1)
    cuts = np.maximum(cuts, 1)  # there is always a training sample
    return np.array((*PARTS, ""))[np.searchsorted(cuts, place, side="right")]
