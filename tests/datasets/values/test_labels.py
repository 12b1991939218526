import numpy as np
import pandas as pd
import pytest

from stoker.datasets.fields.category import ClassField
from stoker.datasets.records import Records, table
from stoker.datasets.values.labels import check_known, label_notes, read_labels, with_joined_spellings
from stoker.errors import JobError
from stoker.job.task import Kind


def records(values: list[object]) -> Records:
    return table(pd.DataFrame({"y": values}), "y")


def message_of(values: list[object], kind: Kind) -> str:
    with pytest.raises(JobError) as caught:
        read_labels(records(values), "y", kind)
    (problem,) = caught.value.problems
    assert problem.path == "dataset.columns.label"
    return problem.message


def test_classes_are_counted_in_their_order():
    labels = read_labels(records([2, 10, 2]), "y", "category")
    assert labels.values.tolist() == ["2", "10", "2"]
    assert labels.classes == ("2", "10")
    assert labels.counts(np.array([True, False, True])) == {"2": 2, "10": 0}


def test_numbers_stay_numbers():
    labels = read_labels(records([0.5, 2]), "y", "number")
    assert labels.values.tolist() == [0.5, 2.0]
    assert labels.classes is None
    assert labels.counts(np.array([True, True])) == {"": 2}


@pytest.mark.parametrize(("name", "kind"), [("", "category"), ("image", "mask")])
def test_masks_and_samples_without_labels_are_only_counted(name: str, kind: Kind):
    labels = read_labels(Records({"image": np.zeros((3, 2, 2), np.uint8)}), name, kind)
    assert labels.classes is None
    assert labels.counts(np.array([True, False, True])) == {"": 2}


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (["a", "a"], "category", "only one class, 'a': there is nothing to distinguish"),
        (["a", None, "b", None], "category", "2 of 4 rows have no value in column 'y' (first: row 2); remove them"),
        ([1, None, 0], "category", "1 of 3 rows have no value in column 'y' (first: row 2); remove them"),
        ([1.5, None], "number", "1 of 2 rows have no value in column 'y' (first: row 2); remove them"),
        (["1", "two"], "number", "'two' in column 'y', row 2, is not a finite number"),
        ([1.0, float("inf")], "number", "'inf' in column 'y', row 2, is not a finite number"),
        ([3, 3], "number", "every row has the value 3: there is nothing to learn"),
        (
            [f"n{number}" for number in range(150)],
            "category",
            "150 classes in 150 samples; is it a number (tabular-regression)?",
        ),
    ],
)
def test_useless_labels_are_reported(values: list[object], kind: Kind, message: str):
    assert message_of(values, kind) == message


def test_images_of_one_class_are_reported_at_the_source():
    pixels = np.zeros((2, 1, 1, 1), np.uint8)
    images = Records({"image": pixels, "label": pd.Series(["a", "a"])}, "label", None, ("0", "1"))
    with pytest.raises(JobError) as caught:
        read_labels(images, "label", "category")
    assert caught.value.problems[0].path == "dataset.source"


def test_a_class_unknown_to_the_model_is_reported():
    with pytest.raises(JobError) as caught:
        check_known(records(["a", "d", "c"]), ClassField("y", ("a", "b")))
    assert str(caught.value) == "classes the model does not know: c, d"
    check_known(records(["a", "b"]), ClassField("y", ("a", "b", "c")))
    check_known(records(["A ", "b"]), ClassField("y", ("a", "b"), clean=True))


SPELLINGS = ["no", "No", "yes ", "yes", "no", "maybe"]


def test_labels_that_differ_by_case_or_blanks_are_named_with_the_cure():
    (note,) = label_notes(records(SPELLINGS), "y", "category")
    found = "labels differ by case or blanks only ('no', 'No'; 'yes ', 'yes')"
    assert note == f"{found}; dataset.columns.clean: true makes them one class"
    assert list(label_notes(records(["no", "yes"]), "y", "category")) == []


def test_joined_spellings_are_the_most_frequent_one():
    joined = with_joined_spellings(records(["no", "No", "yes ", "yes ", "no", "maybe"]), "y")
    assert read_labels(joined, "y", "category").classes == ("maybe", "no", "yes")


@pytest.mark.parametrize(
    ("values", "count"), [([0.5, 1.0, 0.5, 1.5], 3), (list(range(21)) * 2, 21), (list(range(20)) * 2, 0)]
)
def test_numbers_that_may_be_a_quantity_are_noted(values: list[object], count: int):
    notes = list(label_notes(records(values), "y", "category"))
    start = f"the label 'y' has {count} different numbers as classes; if it is a quantity, use task: tabular-regression"
    assert notes == ([start] if count else [])
    assert list(label_notes(records(values), "y", "number")) == []
