import json
from dataclasses import replace
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stoker.datasets.columns import Dense, Ragged
from stoker.datasets.fields.boxes import BoxesField
from stoker.datasets.fields.category import CategoryField, ClassField
from stoker.datasets.fields.field import Field
from stoker.datasets.fields.image import ImageField
from stoker.datasets.fields.inference import Roles
from stoker.datasets.fields.kinds import INPUT_FIELDS, TARGET_FIELDS
from stoker.datasets.fields.mask import MaskField
from stoker.datasets.fields.normality import NormalityField
from stoker.datasets.fields.number import NumberField, ValueField
from stoker.datasets.fields.schema import Fields, as_weights
from stoker.datasets.fields.tags import SEPARATORS, TagsField
from stoker.datasets.fields.texts.answer import AnswerField
from stoker.datasets.fields.texts.dialogue import DialogueField
from stoker.datasets.fields.texts.target_text import TargetTextField
from stoker.datasets.fields.texts.text import TextField
from stoker.datasets.fields.texts.word_pieces import WordPiecesField
from stoker.datasets.fields.texts.word_tags import WordTagsField
from stoker.datasets.fields.texts.words import WordsField
from stoker.datasets.fields.time import TimeField
from stoker.datasets.records import Records, table
from stoker.errors import JobError
from stoker.job.dataset import Dataset, Tokens
from stoker.job.signature import CategoriesInput, ImageInput, NumbersInput, TextInput

SETTINGS = Dataset(source="table.csv")
NUMBERS = st.floats(-1e100, 1e100)
TEXT = st.text(max_size=5)
PAIR = st.tuples(NUMBERS, NUMBERS)
WORDS = st.lists(st.from_regex(r"\w+", fullmatch=True), max_size=5).map(tuple)


def fit(frame: pd.DataFrame, **inputs: str) -> Fields:
    return Fields.fit(table(frame), Roles(inputs, "", ()), "category", SETTINGS)  # type: ignore[arg-type]  # any kind


@pytest.fixture
def mixed() -> Records:
    """Two samples of every kind of column."""
    frame = pd.DataFrame({"c": ["a", "b"], "x": [1.0, None], "y": [3.0, 5.0], "t": ["one one", "one"], "k": ["p", "q"]})
    images = np.arange(2 * 4 * 5, dtype=np.uint8).reshape(2, 4, 5, 1)
    return replace(table(frame, "k"), columns={**table(frame).columns, "i": images, "j": images[:, :2]})


@pytest.fixture
def fields(mixed: Records) -> Fields:
    kinds = {"x": "number", "y": "number", "c": "category", "t": "text", "i": "image", "j": "image"}
    return Fields.fit(mixed, Roles(kinds, "k", ()), "category", SETTINGS)  # type: ignore[arg-type]


def test_a_table_becomes_floats_and_codes():
    frame = pd.DataFrame({"c": ["a", "b"], "x": [1.0, None], "y": [3.0, 5.0]})
    fields = fit(frame, x="number", y="number", c="category")
    assert fields.columns == ("x", "y", "c")
    assert fields.signature.inputs == {"numbers": NumbersInput(3), "categories": CategoriesInput((3,))}
    assert fields.signature.output is None
    samples = fields.encode(table(frame))
    numbers, categories = samples.inputs["numbers"], samples.inputs["categories"]
    assert isinstance(numbers, Dense)
    assert isinstance(categories, Dense)
    assert numbers.values.shape == (2, 3)
    assert numbers.values.dtype == torch.float32
    assert categories.values.tolist() == [[1], [2]]
    assert samples.ids.tolist() == [0, 1]


def test_a_table_without_numbers_or_categories_has_only_the_others():
    frame = pd.DataFrame({"c": ["a", "b"], "x": [1.0, 2.0]})
    assert set(fit(frame, c="category").encode(table(frame)).inputs) == {"categories"}
    assert set(fit(frame, x="number").encode(table(frame)).inputs) == {"numbers"}
    assert fit(frame, c="category").signature.numbers == 0
    assert fit(frame, x="number").signature.categories == ()


def test_a_sample_may_hold_every_kind_of_column(mixed: Records, fields: Fields):
    assert fields.signature.inputs == {
        "numbers": NumbersInput(3),
        "categories": CategoriesInput((3,)),
        "t": TextInput(5, 256),
        "i": ImageInput(1, 4, 5),
        "j": ImageInput(1, 2, 5),
    }
    assert fields.signature.classes == ("p", "q")
    samples = fields.encode(mixed)
    assert isinstance(samples.inputs["t"], Ragged)
    assert samples.target is not None
    assert samples.target.take(torch.arange(2)).tolist() == [0, 1]
    taken = fields.gather(samples, torch.tensor([1, 0]))
    assert {name: tuple(value.shape) for name, value in taken.items()} == {
        "numbers": (2, 3), "categories": (2, 1), "t": (2, 2), "i": (2, 1, 4, 5), "j": (2, 1, 2, 5),
    }  # fmt: skip
    assert taken["t"].tolist() == [[4, 0], [4, 4]]


def test_only_images_are_prepared_per_batch(fields: Fields):
    assert [name for name, _ in fields.layout.prepared] == ["i", "j"]


def test_the_memory_of_samples_is_counted(mixed: Records, fields: Fields):
    numbers, codes, text, images, ids, target = 2 * 3 * 4, 2 * 8, 3 * 8 + 3 * 8, 40 + 20, 2 * 8, 2 * 8
    assert fields.encode(mixed).nbytes == numbers + codes + text + images + ids + target


def test_samples_without_a_target_are_encoded_for_predictions(mixed: Records, fields: Fields):
    unlabelled = replace(mixed, columns={name: each for name, each in mixed.columns.items() if name != "k"})
    fields.check(unlabelled)
    assert fields.encode(unlabelled, target=False).target is None


def test_picked_samples_keep_target_and_weight(mixed: Records, fields: Fields):
    samples = fields.encode(mixed, weight="y").rows(torch.tensor([1]))
    assert samples.target is not None
    assert samples.target.take(torch.tensor([0])).tolist() == [1]
    assert samples.weight is not None
    assert samples.weight.tolist() == [5.0]
    assert samples.ids.tolist() == [1]


def test_a_missing_column_is_reported():
    fields = fit(pd.DataFrame({"x": [1.0], "y": [2.0]}), x="number", y="number")
    with pytest.raises(JobError) as caught:
        fields.check(table(pd.DataFrame({"y": [1.0], "z": [1.0]})))
    assert str(caught.value) == "the input lacks the columns x (it has: y, z)"
    with pytest.raises(JobError, match=r"lacks the columns label, x \(it has: y\)"):
        fields.check(table(pd.DataFrame({"y": [1.0]})), "label")


def test_a_mask_of_another_size_than_its_image_is_reported():
    masks = np.arange(2 * 9, dtype=np.uint8).reshape(2, 3, 3)
    records = Records({"image": np.zeros((2, 4, 3, 1), np.uint8), "mask": masks}, "mask")
    with pytest.raises(JobError) as caught:
        Fields.fit(records, Roles({"image": "image"}, "mask", ()), "mask", SETTINGS)
    (problem,) = caught.value.problems
    assert (problem.path, problem.message) == ("dataset.source", "the masks are 3x3, the images of column 'image' 4x3")


@pytest.mark.parametrize(("bad", "shown"), [(-1.0, "-1.0"), (float("nan"), "nan"), (float("inf"), "inf")])
def test_a_negative_or_missing_weight_is_reported_with_its_row(bad: float, shown: str):
    with pytest.raises(JobError) as caught:
        as_weights(table(pd.DataFrame({"w": [1.0, bad]})), "w")
    (problem,) = caught.value.problems
    assert problem.path == "dataset.columns.weight"
    assert problem.message == f"'{shown}' in column 'w', row 2, is not a weight of 0 or more"


TARGETS: st.SearchStrategy[Field] = st.one_of(
    st.builds(NormalityField, TEXT, st.lists(TEXT, min_size=1, unique=True).map(tuple)),
    st.builds(ClassField, TEXT, st.lists(TEXT, min_size=2, unique=True).map(tuple)),
    st.builds(ValueField, TEXT, NUMBERS, NUMBERS),
    st.builds(MaskField, TEXT, st.lists(st.integers(0, 255), min_size=2).map(tuple), st.just(4), st.just(5)),
    st.builds(
        WordTagsField, TEXT, st.lists(TEXT, min_size=2, unique=True).map(tuple), st.booleans(), st.integers(1, 99)
    ),
    st.builds(TagsField, TEXT, st.lists(TEXT, min_size=1, unique=True).map(tuple), st.sampled_from(SEPARATORS)),
    st.builds(AnswerField, TEXT, st.integers(1, 99), st.booleans()),
    st.builds(BoxesField, TEXT, st.lists(TEXT, min_size=1, unique=True).map(tuple)),
    st.builds(TargetTextField, TEXT, st.sampled_from(get_args(Tokens)), TEXT, st.integers(1, 99), st.integers(0, 99)),
)


@st.composite
def images(draw: st.DrawFn) -> ImageField:
    means, scales = zip(*draw(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=3)), strict=True)
    return ImageField(draw(TEXT), draw(st.integers(1, 9)), draw(st.integers(1, 9)), len(means), means, scales)


TEXTS = st.builds(TextField, TEXT, st.sampled_from(get_args(Tokens)), TEXT, st.integers(1, 99))
INPUTS: st.SearchStrategy[Field] = st.one_of(
    st.builds(NumberField, TEXT, NUMBERS, NUMBERS, NUMBERS, st.booleans(), st.booleans(), st.sampled_from([".", ","])),
    st.builds(TimeField, TEXT, TEXT, WORDS, PAIR, PAIR, st.booleans()),
    st.builds(CategoryField, TEXT, st.lists(TEXT).map(tuple)),
    TEXTS,
    TEXTS.map(lambda text: WordPiecesField(text.name, text)),
    st.builds(WordsField, TEXT, TEXT, st.integers(1, 99)),
    images(),
    st.builds(DialogueField, TEXT, st.sampled_from(get_args(Tokens)), TEXT, st.integers(1, 99), TEXT, st.integers(-1)),
)


def test_every_kind_of_field_has_a_strategy():
    texts = {TextField, WordsField, WordPiecesField, DialogueField}
    assert {*INPUT_FIELDS.values()} == {NumberField, TimeField, CategoryField, ImageField, *texts}
    own = {TargetTextField, WordTagsField, AnswerField, BoxesField}
    assert {*TARGET_FIELDS.values()} == {ClassField, NormalityField, ValueField, MaskField, TagsField, *own}


@given(st.lists(INPUTS, unique_by=lambda each: each.name).map(tuple), st.one_of(st.none(), TARGETS))
def test_fields_survive_json(inputs, target):
    fields = Fields(inputs, target)
    assert Fields.from_json(json.loads(json.dumps(fields.to_json())), fields.assets()) == fields
