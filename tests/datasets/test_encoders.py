import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stoker.datasets.encoders import (
    FARTHEST,
    CategoryEncoder,
    Encoders,
    ImageEncoder,
    NumberEncoder,
    TableEncoder,
    mean_and_scale,
)

from stoker.errors import JobError
from stoker.job.signature import ClassOutput, ImageInput, TableInput, ValueOutput

NUMBERS = st.floats(-1e100, 1e100)
TEXT = st.text(max_size=5)


def test_numbers_have_no_mean_and_unit_variance():
    (scaled,) = NumberEncoder.fit("x", column := pd.Series([1.0, 2.0, 3.0, 6.0])).encode(column)
    assert scaled.mean() == pytest.approx(0)
    assert scaled.std() == pytest.approx(1)


def test_a_missing_number_becomes_the_median_and_is_flagged():
    encoder = NumberEncoder.fit("x", pd.Series([1.0, None, 2.0, 6.0]))
    scaled, missing = encoder.encode(pd.Series([None, 2.0]))
    assert scaled[0] == scaled[1]
    assert missing.tolist() == [1.0, 0.0]


def test_numbers_missing_only_after_training_get_no_flag():
    encoder = NumberEncoder.fit("x", pd.Series([1.0, 2.0, 6.0]))
    (scaled,) = encoder.encode(pd.Series([None, 2.0, "text"]))
    assert scaled[0] == scaled[1] == scaled[2]


def test_a_long_tail_is_scaled_by_its_logarithm():
    column = pd.Series([*range(100), 1e6])
    assert NumberEncoder.fit("x", column).logarithm
    assert not NumberEncoder.fit("x", -column).logarithm
    assert np.isfinite(NumberEncoder.fit("x", column).encode(pd.Series([-5.0]))[0]).all()


def test_a_wild_value_is_cut_off():
    encoder = NumberEncoder.fit("x", pd.Series([1.0, 2.0, 3.0]))
    assert encoder.encode(pd.Series([1e30, -1e30]))[0].tolist() == [FARTHEST, -FARTHEST]


@pytest.mark.parametrize("values", [[0.1] * 3, [5.0], [1e9] * 7, [0.0, 0.0]])
def test_equal_numbers_are_not_blown_up(values: list[float]):
    assert mean_and_scale(np.array(values)) == (pytest.approx(values[0]), 1.0)


def test_small_numbers_are_scaled_like_large_ones():
    assert mean_and_scale(np.array([1e-15, 3e-15]))[1] == pytest.approx(1e-15)


def test_a_column_without_any_number_is_all_missing():
    scaled, missing = NumberEncoder.fit("x", pd.Series(["a", None])).encode(pd.Series([3.0, None]))
    assert np.isfinite(scaled).all()
    assert missing.tolist() == [0.0, 1.0]


def test_missing_and_unknown_categories_are_0():
    encoder = CategoryEncoder.fit("x", pd.Series(["b", "a", None, "b"]))
    assert encoder.values == ("a", "b")
    assert encoder.encode(pd.Series(["a", "b", "c", None])).tolist() == [1, 2, 0, 0]


def test_a_category_of_numbers_is_found_again_in_another_type():
    encoder = CategoryEncoder.fit("x", pd.Series([1, 2]))
    assert encoder.encode(pd.Series([1.0, None])).tolist() == [1, 0]
    assert encoder.encode(pd.Series(["1", "2"])).tolist() == [1, 2]


def test_a_table_becomes_floats_and_codes():
    frame = pd.DataFrame({"c": ["a", "b"], "x": [1.0, None], "y": [3.0, 5.0]})
    encoder = TableEncoder.fit(frame, ("x", "y"), ("c",))
    assert encoder.columns == ("x", "y", "c")
    assert encoder.input == TableInput(numbers=3, categories=(3,))
    encoded = encoder.encode(frame)
    assert encoded["numbers"].shape == (2, 3)
    assert encoded["numbers"].dtype == torch.float32
    assert encoded["categories"].tolist() == [[1], [2]]


def test_a_table_without_numbers_or_categories_keeps_its_rows():
    frame = pd.DataFrame({"c": ["a", "b"], "x": [1.0, 2.0]})
    assert TableEncoder.fit(frame, (), ("c",)).encode(frame)["numbers"].shape == (2, 0)
    assert TableEncoder.fit(frame, ("x",), ()).encode(frame)["categories"].shape == (2, 0)


def test_a_missing_column_is_told():
    encoder = TableEncoder.fit(pd.DataFrame({"x": [1.0], "y": [2.0]}), ("x", "y"), ())
    with pytest.raises(JobError) as caught:
        encoder.check(pd.DataFrame({"y": [1.0], "z": [1.0]}))
    assert str(caught.value) == "the input lacks the columns x (it has: y, z)"


def test_pictures_are_standardised_channel_by_channel():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), np.uint8)
    encoder = ImageEncoder.fit(pixels)
    assert encoder.mean == pytest.approx(tuple(pixels.mean(axis=(0, 1, 2))))
    assert encoder.scale == pytest.approx(tuple(pixels.std(axis=(0, 1, 2))))
    assert encoder.input == ImageInput(channels=3, height=4, width=6)
    scaled = encoder.scaled(torch.from_numpy(pixels))
    assert scaled.shape == (5, 3, 4, 6)
    assert scaled.is_contiguous(memory_format=torch.channels_last)
    expected = (pixels - pixels.mean(axis=(0, 1, 2))) / pixels.std(axis=(0, 1, 2))
    np.testing.assert_allclose(scaled.permute(0, 2, 3, 1), expected, atol=1e-5)


def test_blank_pictures_are_not_divided_by_zero():
    assert ImageEncoder.fit(np.full((2, 3, 3, 1), 7, np.uint8)).scale == (1.0,)


def test_pictures_of_another_shape_are_refused():
    encoder = ImageEncoder(8, 8, 1, (0.0,), (1.0,))
    with pytest.raises(JobError) as caught:
        encoder.fitting(np.zeros((2, 9, 8, 1), np.uint8))
    assert str(caught.value) == "the model takes pictures of 8 x 8 x 1 (height, width, channels), not 9 x 8 x 1"
    with pytest.raises(JobError, match="not 8 x 8 x 3"):
        encoder.fitting(np.zeros((2, 8, 8, 3), np.uint8))


def test_grey_pictures_stand_in_for_colour():
    encoder = ImageEncoder(2, 2, 3, (0.0,) * 3, (1.0,) * 3)
    pixels = np.arange(4, dtype=np.uint8).reshape(1, 2, 2)
    fitting = encoder.fitting(pixels)
    assert fitting.shape == (1, 2, 2, 3)
    assert (fitting == pixels[..., None]).all()


OUTPUTS = st.one_of(
    st.builds(ClassOutput, st.lists(TEXT, min_size=2, unique=True).map(tuple)),
    st.builds(ValueOutput, TEXT, NUMBERS, NUMBERS),
)


@given(
    st.lists(st.builds(NumberEncoder, TEXT, NUMBERS, NUMBERS, NUMBERS, st.booleans(), st.booleans())).map(tuple),
    st.lists(st.builds(CategoryEncoder, TEXT, st.lists(TEXT).map(tuple))).map(tuple),
    OUTPUTS,
)
def test_table_encoders_survive_json(numbers, categories, output):
    encoders = Encoders(TableEncoder(numbers, categories), output)
    assert Encoders.from_json(json.loads(json.dumps(encoders.to_json()))) == encoders


@given(st.integers(1, 9), st.integers(1, 9), st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=3), OUTPUTS)
def test_image_encoders_survive_json(height, width, channels, output):
    means, scales = zip(*channels, strict=True)
    encoders = Encoders(ImageEncoder(height, width, len(channels), means, scales), output)
    assert Encoders.from_json(json.loads(json.dumps(encoders.to_json()))) == encoders


@given(st.lists(st.one_of(st.none(), NUMBERS), min_size=1, max_size=20))
def test_encoded_numbers_are_always_finite(values: list[float | None]):
    column = pd.Series(values, dtype=float)
    for encoded in NumberEncoder.fit("x", column).encode(column):
        assert np.isfinite(encoded).all()
