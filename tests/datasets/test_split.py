from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.datasets.split import complete_parts, part_sizes, read_parts, split_parts
from stoker.errors import JobError
from stoker.job.dataset import Split

CLASS_SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=12)


@st.composite
def splits(draw: st.DrawFn) -> Split:
    train = draw(st.integers(1, 100))
    val = draw(st.integers(0, 100 - train))
    test = draw(st.integers(0, 100 - train - val))
    return Split(train=train / 100, val=val / 100, test=test / 100, seed=draw(st.integers(0, 3)))


def labels_of(sizes: list[int]) -> np.ndarray:
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))


def test_shares_are_exact_where_they_can_be():
    assert Counter(split_parts(Split(), 1000).tolist()) == {"train": 800, "val": 100, "test": 100}
    thirds = np.repeat(["a", "b", "c"], [33, 33, 34])
    assert Counter(split_parts(Split(), 100, thirds).tolist()) == {"train": 80, "val": 10, "test": 10}


def test_each_class_keeps_its_shares():
    classes = np.repeat(["a", "b"], [50, 150])
    parts = split_parts(Split(), 200, classes)
    assert Counter(zip(classes, parts, strict=True)) == {
        ("a", "train"): 40, ("a", "val"): 5, ("a", "test"): 5,
        ("b", "train"): 120, ("b", "val"): 15, ("b", "test"): 15,
    }  # fmt: skip


@given(CLASS_SIZES, splits())
def test_a_class_is_split_within_one_sample_of_its_shares(sizes: list[int], split: Split):
    classes = labels_of(sizes)
    parts = split_parts(split, len(classes), classes)
    for number, size in enumerate(sizes):
        for part in ("train", "val", "test"):
            there = int(((parts == part) & (classes == number)).sum())
            assert abs(there - getattr(split, part) * size) <= 1 + 1e-6


@given(CLASS_SIZES, splits())
def test_totals_are_within_one_sample_of_the_shares(sizes: list[int], split: Split):
    shares = np.array([split.train, split.val, split.test, 1 - split.train - split.val - split.test])
    counts = np.array(sizes) * 10 + int(2 / split.train)  # each class gets a training sample by its share alone
    totals = part_sizes(counts, shares).sum(axis=0)
    assert (np.abs(totals - shares * counts.sum()) < 1 + 1e-6).all()


@given(CLASS_SIZES, splits())
def test_every_sample_has_exactly_one_part(sizes: list[int], split: Split):
    classes = labels_of(sizes)
    parts = split_parts(split, len(classes), classes)
    assert parts.shape == classes.shape
    known = {"train", "val", "test", *([""] if split.train + split.val + split.test < 1 else [])}
    assert set(parts.tolist()) <= known


@given(CLASS_SIZES, splits())
def test_a_rare_class_always_has_a_training_sample(sizes: list[int], split: Split):
    classes = labels_of(sizes)
    parts = split_parts(split, len(classes), classes)
    assert set(classes[parts == "train"].tolist()) == set(range(len(sizes)))


def test_the_split_depends_on_the_seed_alone():
    classes = labels_of([40, 60])
    first, again = split_parts(Split(seed=1), 100, classes), split_parts(Split(seed=1), 100, classes)
    assert (first == again).all()
    assert (first != split_parts(Split(seed=2), 100, classes)).any()


@given(st.lists(st.integers(0, 15), min_size=1, max_size=200), splits())
def test_a_group_stays_in_one_part(groups: list[int], split: Split):
    names = np.array([f"g{group}" for group in groups])
    parts = split_parts(split, len(names), groups=names)
    assert all(len(set(parts[names == name].tolist())) == 1 for name in set(names.tolist()))
    for part in ("val", "test"):
        assert getattr(split, part) > 0 or part not in parts


def test_small_groups_come_close_to_the_shares():
    groups = np.repeat(np.arange(100), 5).astype(str)
    counts = Counter(split_parts(Split(), 500, groups=groups).tolist())
    assert counts == {"train": 400, "val": 50, "test": 50}


def test_shares_below_one_leave_samples_out():
    counts = Counter(split_parts(Split(train=0.5, val=0.1, test=0.1), 100).tolist())
    assert counts == {"train": 50, "val": 10, "test": 10, "": 30}
    groups = np.arange(100).astype(str)
    assert Counter(split_parts(Split(train=0.5, val=0.1, test=0.1), 100, groups=groups).tolist()) == counts


@pytest.mark.parametrize(
    ("given_parts", "expected"),
    [
        ({"train": 100, "test": 20}, {"train": 90, "val": 10, "test": 20}),
        ({"train": 100, "val": 20}, {"train": 90, "val": 20, "test": 10}),
        ({"train": 100}, {"train": 80, "val": 10, "test": 10}),
        ({"train": 7, "val": 2, "test": 1}, {"train": 7, "val": 2, "test": 1}),
    ],
)
def test_a_part_that_the_source_lacks_is_taken_from_its_training_samples(
    given_parts: dict[str, int], expected: dict[str, int]
):
    before = np.repeat(list(given_parts), list(given_parts.values()))
    after = complete_parts(before, Split(), None)
    assert Counter(after.tolist()) == expected
    assert (after[before != "train"] == before[before != "train"]).all()


def test_given_parts_are_completed_class_by_class():
    before = np.repeat(["train", "test"], [100, 10])
    classes = np.array(["a", "b"] * 55)
    after = complete_parts(before, Split(), classes)
    assert Counter(classes[after == "val"].tolist()) == {"a": 5, "b": 5}


# By time and by a column.


def test_parts_follow_one_another_in_time():
    times = np.random.default_rng(0).permutation(100)
    parts = split_parts(Split(), 100, times=times)
    assert Counter(parts.tolist()) == {"train": 80, "val": 10, "test": 10}
    assert times[parts == "train"].max() < times[parts == "val"].min()
    assert times[parts == "val"].max() < times[parts == "test"].min()


@given(st.lists(st.integers(0, 15), min_size=1, max_size=200), splits())
def test_samples_of_one_time_stay_in_one_part_and_the_parts_in_order(given_times: list[int], split: Split):
    times = np.array(given_times)
    parts = split_parts(split, len(times), times=times)
    order = [part for time in np.unique(times) for part in set(parts[times == time].tolist())]
    assert len(order) == len(np.unique(times))
    assert order == sorted(order, key=["train", "val", "test", ""].index)
    assert order[0] == "train"
    for part in ("val", "test"):
        assert getattr(split, part) > 0 or part not in parts


def test_a_split_by_time_is_as_close_to_the_shares_as_equal_times_allow():
    days = np.repeat(np.arange(10), [10, 10, 10, 10, 10, 10, 10, 9, 11, 10])
    counts = Counter(split_parts(Split(), 100, times=days).tolist())
    assert counts == {"train": 79, "val": 11, "test": 10}
    counts = Counter(split_parts(Split(train=0.5, val=0.2, test=0.1), 100, times=days).tolist())
    assert counts == {"train": 50, "val": 20, "test": 9, "": 21}


def test_a_part_that_the_source_lacks_is_the_latest_of_its_training_samples():
    before = np.repeat(["train", "test"], [100, 20])
    times = np.arange(120)[::-1]
    after = complete_parts(before, Split(), None, times)
    assert np.flatnonzero(after == "val").tolist() == list(range(10))
    assert (after[before == "test"] == "test").all()


def test_a_column_of_parts_accepts_the_usual_names():
    words = ["train", "Training", " val", "valid", "validation", "dev", "TEST"]
    assert read_parts(pd.Series(words), "part").tolist() == ["train"] * 2 + ["val"] * 4 + ["test"]


@pytest.mark.parametrize(
    ("words", "found"),
    [(["train", "hold-out"], "'hold-out' is not a part"), (["val", None, "x"], "there is no part")],
)
def test_a_row_without_a_part_is_named(words: list[str | None], found: str):
    with pytest.raises(JobError) as caught:
        read_parts(pd.Series(words), "part")
    (problem,) = caught.value.problems
    assert problem.path == "dataset.split.column"
    expected = f"row 2, column 'part': {found}; write train, val or test there, or remove the row"
    assert problem.message == expected
