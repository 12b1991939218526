import numpy as np
import pandas as pd
import pytest

from stoker.datasets.columns import as_numbers, as_text, as_weights, infer_features
from stoker.errors import JobError
from stoker.job.dataset import Columns


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "row": np.arange(100),
            "user_id": rng.permutation(100) * 7,
            "paid": rng.permutation(100) * 7,
            "height": rng.normal(size=100),
            "colour": ["red", "green"] * 50,
            "member": [True, False] * 50,
            "name": [f"n{number}" for number in range(100)],
            "country": ["here"] * 100,
            "empty": [None] * 100,
            "seen": [1.0, None] * 50,
            "label": ["x", "y"] * 50,
        }
    )


def test_columns_are_sorted_into_numbers_and_categories(frame: pd.DataFrame):
    features = infer_features(frame, "label", Columns())
    assert features.numbers == ("paid", "height", "seen")
    assert features.categories == ("colour", "member")


def test_each_column_that_cannot_help_has_its_note(frame: pd.DataFrame):
    assert infer_features(frame, "label", Columns()).notes == (
        "column 'row' is left out: it numbers the rows",
        "column 'user_id' is left out: it names the rows",
        "column 'name' is left out: 100 different texts in 100 rows; name it in dataset.columns.types to keep it",
        "column 'country' is left out: every row has the same value",
        "column 'empty' is left out: it is empty",
    )


def test_a_column_that_the_job_names_is_kept(frame: pd.DataFrame):
    assert infer_features(frame, "label", Columns(features=("row", "country"))).numbers == ("row",)
    typed = infer_features(frame, "label", Columns(types={"row": "category", "name": "category"}))
    assert typed.categories == ("row", "colour", "member", "name")


def test_a_column_with_another_part_is_no_feature(frame: pd.DataFrame):
    features = infer_features(frame, "label", Columns(weight="paid", group="colour", drop=("seen",)))
    assert features.numbers == ("height",)
    assert features.categories == ("member",)


def test_text_is_the_same_whatever_a_missing_value_made_of_the_column():
    assert as_text(pd.Series([1, 2])).tolist() == ["1", "2"]
    assert as_text(pd.Series([1, None, 2])).tolist() == ["1", None, "2"]
    assert as_text(pd.Series([1, None, 2.5])).tolist() == ["1", None, "2.5"]
    assert as_text(pd.Series([1, None], dtype="Int64")).tolist() == ["1", None]
    assert as_text(pd.Series([True, False])).tolist() == ["True", "False"]
    assert as_text(pd.Series([True, None])).tolist() == ["True", None]
    assert as_text(pd.Series(["a", None])).tolist() == ["a", None]


def test_what_is_not_a_finite_number_is_missing():
    values = as_numbers(pd.Series(["1.5", "x", None, "inf", "-2"]))
    assert np.isnan(values).tolist() == [False, True, True, True, False]
    assert values[[0, 4]].tolist() == [1.5, -2.0]


@pytest.mark.parametrize(("bad", "shown"), [(-1.0, "-1.0"), (float("nan"), "nan"), (float("inf"), "inf")])
def test_a_weight_below_zero_or_missing_is_told_with_its_row(bad: float, shown: str):
    with pytest.raises(JobError) as caught:
        as_weights(pd.Series([1.0, bad]), "w")
    (problem,) = caught.value.problems
    assert problem.path == "dataset.columns.weight"
    assert problem.message == f"'{shown}' in column 'w', row 2, is not a weight of 0 or more"
