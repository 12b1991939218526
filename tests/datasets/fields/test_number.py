import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stoker.datasets.columns import Dense
from stoker.datasets.fields.number import (
    CLIP,
    NumberField,
    ValueField,
    as_numbers,
    check_range,
    mean_and_scale,
    number_notes,
)
from stoker.errors import JobError
from stoker.job.dataset import Dataset
from stoker.job.signature import NumbersInput, ValueOutput

SETTINGS = Dataset(source="numbers.csv")
NUMBERS = st.floats(-1e100, 1e100)


def fit(values: list[object]) -> NumberField:
    return NumberField.fit("x", pd.Series(values), SETTINGS)


def encoded(field: NumberField, values: list[object]) -> np.ndarray:
    """Return (1, N) or (2, N): the scaled numbers, and the flags where the field has one."""
    column = field.encode(pd.Series(values))
    assert isinstance(column, Dense)
    assert column.values.dtype == torch.float32
    assert len(column) == len(values)
    return column.values.numpy().T


def test_numbers_have_zero_mean_and_unit_variance():
    (scaled,) = encoded(fit([1.0, 2.0, 3.0, 6.0]), [1.0, 2.0, 3.0, 6.0])
    assert scaled.mean() == pytest.approx(0, abs=1e-7)
    assert scaled.std() == pytest.approx(1)


def test_a_missing_number_becomes_the_median_and_is_flagged():
    scaled, missing = encoded(fit([1.0, None, 2.0, 6.0]), [None, 2.0])
    assert scaled[0] == scaled[1]
    assert missing.tolist() == [1.0, 0.0]


def test_numbers_missing_only_after_training_get_no_flag():
    (scaled,) = encoded(fit([1.0, 2.0, 6.0]), [None, 2.0, "text"])
    assert scaled[0] == scaled[1] == scaled[2]


def test_a_long_tail_is_scaled_by_its_logarithm():
    values: list[object] = [*range(100), 1e6]
    assert fit(values).logarithm
    assert not NumberField.fit("x", -pd.Series(values), SETTINGS).logarithm
    assert np.isfinite(encoded(fit(values), [-5.0])).all()


def test_an_outlier_is_clipped():
    assert encoded(fit([1.0, 2.0, 3.0]), [1e30, -1e30])[0].tolist() == [CLIP, -CLIP]


@pytest.mark.parametrize("values", [[0.1] * 3, [5.0], [1e9] * 7, [0.0, 0.0]])
def test_equal_numbers_are_not_scaled_up(values: list[float]):
    assert mean_and_scale(np.array(values)) == (pytest.approx(values[0]), 1.0)


def test_small_numbers_are_scaled_like_large_ones():
    assert mean_and_scale(np.array([1e-15, 3e-15]))[1] == pytest.approx(1e-15)


def test_a_column_without_any_number_is_all_missing():
    scaled, missing = encoded(fit(["a", None]), [3.0, None])
    assert np.isfinite(scaled).all()
    assert missing.tolist() == [0.0, 1.0]


def test_each_flag_is_a_separate_float_column():
    whole, gaps = fit([1.0, 2.0]), fit([1.0, None])
    assert NumberField.shape([whole]) == NumbersInput(1)
    assert NumberField.shape([whole, gaps, gaps]) == NumbersInput(5)


@given(st.lists(st.one_of(st.none(), NUMBERS), min_size=1, max_size=20))
def test_encoded_numbers_are_always_finite(values: list[float | None]):
    column = pd.Series(values, dtype=float)
    assert np.isfinite(encoded(NumberField.fit("x", column, SETTINGS), values)).all()


def test_a_value_to_predict_keeps_its_unit():
    field = ValueField.fit("price", pd.Series([100, 200, 300]), SETTINGS)
    column = field.encode(pd.Series([150.0, 1e6]))
    assert isinstance(column, Dense)
    assert column.values.dtype == torch.float32
    assert column.values.tolist() == [150.0, 1e6]
    assert field.output == ValueOutput("price", 200.0, pytest.approx(np.std([100, 200, 300])))


def test_values_that_are_not_finite_numbers_are_missing():
    values = as_numbers(pd.Series(["1.5", "x", None, "inf", "-2"]))
    assert np.isnan(values).tolist() == [False, True, True, True, False]
    assert values[[0, 4]].tolist() == [1.5, -2.0]


def test_numbers_written_as_text_are_read_as_in_training():
    field = fit(["0,5", "1,5", "?", "4"])
    scaled, missing = encoded(field, ["1,5", 1.5, "n.a.", None])
    assert missing.tolist() == [0, 0, 1, 1]
    assert scaled[0] == scaled[1]
    assert ValueField.fit("y", pd.Series(["0,5", "1,5"]), SETTINGS).mean == 1.0


def test_notes_show_how_written_numbers_are_read_and_what_counts_as_missing():
    column = pd.Series(["$1,234.50", "?", "$5", "unknown", "?"])
    assert list(number_notes("x", column)) == [
        "column 'x' holds numbers as text: '$1,234.50' is read as 1234.5",
        "column 'x': 3 cells count as missing, since they are no numbers: '?', 'unknown'",
    ]
    assert list(number_notes("x", pd.Series([1.5, None]))) == []


def test_a_number_that_overflows_is_named():
    with pytest.raises(JobError) as caught:
        check_range("x", pd.Series([1.0, -1e308]), "dataset.source")
    assert caught.value.problems[0].message.startswith("-1e+308 in column 'x', row 2, is beyond 1e+100: correct it")
    check_range("x", pd.Series([1e100, None]), "dataset.source")


def test_numbers_in_another_notation_than_those_learnt_from_are_refused():
    field = NumberField.fit("area", pd.Series(["1.5", "2.25", "1,250.75"]), SETTINGS)
    with pytest.raises(JobError, match=r"column 'area', row 2: '3,5' and others are not numbers with a decimal point"):
        field.encode(pd.Series(["?", "3,5", "4,25"]))
    with pytest.raises(JobError, match="are not numbers with a decimal comma"):
        ValueField("price", 0.0, 1.0, ",").encode(pd.Series(["1.5", "x", "2.75"]))


@pytest.mark.parametrize("text", ["many", "TBD", "inf", "?", None])
def test_a_row_whose_text_is_no_number_counts_as_missing(text: str | None):
    field = NumberField.fit("area", pd.Series(["1.5", "2.25", None]), SETTINGS)
    assert encoded(field, [text])[1].tolist() == [1.0]
