import numpy as np
import pandas as pd
import pytest

from stoker.datasets.labels import known_labels, read_labels, sorted_classes
from stoker.datasets.samples import Pictures, Table
from stoker.errors import JobError


def table(values: list[object]) -> Table:
    return Table(pd.DataFrame({"y": values}), "y")


def message_of(values: list[object], target: str) -> str:
    with pytest.raises(JobError) as caught:
        read_labels(table(values), target)
    (problem,) = caught.value.problems
    assert problem.path == "dataset.columns.label"
    return problem.message


def test_classes_that_are_numbers_stand_in_their_order():
    assert sorted_classes(np.array(["10", "9", "-1"])) == ("-1", "9", "10")
    assert sorted_classes(np.array(["1.0", "1", "01"])) == ("01", "1", "1.0")
    assert sorted_classes(np.array(["b", "10", "9"])) == ("10", "9", "b")
    assert sorted_classes(np.array(["nan", "2", "inf"])) == ("2", "inf", "nan")


def test_labels_become_places_and_counts():
    labels = read_labels(table([2, 10, 2]), "class")
    assert labels.encoded().tolist() == [0, 1, 0]
    assert labels.counts(np.array([True, False, True])) == {"2": 2, "10": 0}


def test_numbers_stay_numbers():
    labels = read_labels(table([0.5, 2]), "value")
    assert labels.encoded().tolist() == [0.5, 2.0]
    assert labels.counts(np.array([True, True])) == {"": 2}


@pytest.mark.parametrize(
    ("values", "target", "message"),
    [
        (["a", "a"], "class", "only one class, 'a': there is nothing to tell apart"),
        (["a", None, "b", None], "class", "2 of 4 rows have no value in column 'y' (first: row 2); remove them"),
        ([1, None, 0], "class", "1 of 3 rows have no value in column 'y' (first: row 2); remove them"),
        ([1.5, None], "value", "1 of 2 rows have no value in column 'y' (first: row 2); remove them"),
        (["1", "two"], "value", "'two' in column 'y', row 2, is not a finite number"),
        ([1.0, float("inf")], "value", "'inf' in column 'y', row 2, is not a finite number"),
        ([3, 3], "value", "every row has the value 3: there is nothing to learn"),
        (
            [f"n{number}" for number in range(150)],
            "class",
            "150 classes in 150 samples; is it a number (tabular-regression)?",
        ),
    ],
)
def test_labels_that_teach_nothing_are_told(values: list[object], target: str, message: str):
    assert message_of(values, target) == message


def test_pictures_of_one_class_are_told_at_the_source():
    with pytest.raises(JobError) as caught:
        read_labels(Pictures(np.zeros((2, 1, 1, 1), np.uint8), np.array(["a", "a"]), ("0", "1")), "class")
    assert caught.value.problems[0].path == "dataset.source"


def test_a_class_that_the_model_never_saw_is_told():
    with pytest.raises(JobError) as caught:
        known_labels(table(["a", "d", "c"]), ("a", "b"))
    assert str(caught.value) == "classes the model does not know: c, d"
