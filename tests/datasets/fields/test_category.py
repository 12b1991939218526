import numpy as np
import pandas as pd
import torch

from stoker.datasets.columns import Column, Dense
from stoker.datasets.fields.category import CategoryField, ClassField, as_text, sorted_classes
from stoker.job.dataset import Dataset
from stoker.job.signature import CategoriesInput, ClassOutput

SETTINGS = Dataset(source="categories.csv")


def fit(values: list[object]) -> CategoryField:
    return CategoryField.fit("x", pd.Series(values), SETTINGS)


def numbers(column: Column) -> list[object]:
    assert isinstance(column, Dense)
    assert column.values.dtype == torch.int64
    values: list[object] = column.values.tolist()
    return values


def test_missing_and_unknown_categories_are_0():
    field = fit(["b", "a", None, "b"])
    assert field.values == ("a", "b")
    assert numbers(field.encode(pd.Series(["a", "b", "c", None]))) == [[1], [2], [0], [0]]


def test_a_category_of_numbers_is_recognised_in_another_type():
    field = fit([1, 2])
    assert numbers(field.encode(pd.Series([1.0, None]))) == [[1], [0]]
    assert numbers(field.encode(pd.Series(["1", "2"]))) == [[1], [2]]


def test_each_vocabulary_has_a_number_for_unknown_values():
    assert CategoryField.shape([fit(["a", "b"]), fit([None])]) == CategoriesInput((3, 1))


def test_a_class_becomes_its_index():
    field = ClassField.fit("y", pd.Series([10, 9, 10]), SETTINGS)
    assert field.output == ClassOutput(("9", "10"))
    assert numbers(field.encode(pd.Series(["10", "9"]))) == [1, 0]


def test_classes_that_are_numbers_are_sorted_numerically():
    assert sorted_classes(np.array(["10", "9", "-1"])) == ("-1", "9", "10")
    assert sorted_classes(np.array(["1.0", "1", "01"])) == ("01", "1", "1.0")
    assert sorted_classes(np.array(["b", "10", "9"])) == ("10", "9", "b")
    assert sorted_classes(np.array(["nan", "2", "inf"])) == ("2", "inf", "nan")


def test_text_does_not_depend_on_missing_values_in_the_column():
    assert as_text(pd.Series([1, 2])).tolist() == ["1", "2"]
    assert as_text(pd.Series([1, None, 2])).tolist() == ["1", None, "2"]
    assert as_text(pd.Series([1, None, 2.5])).tolist() == ["1", None, "2.5"]
    assert as_text(pd.Series([1, None], dtype="Int64")).tolist() == ["1", None]
    assert as_text(pd.Series([True, False])).tolist() == ["True", "False"]
    assert as_text(pd.Series([True, None])).tolist() == ["True", None]
    assert as_text(pd.Series(["a", None])).tolist() == ["a", None]
