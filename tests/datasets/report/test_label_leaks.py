import numpy as np
import pandas as pd
import pytest

from stoker.datasets.fields.inference import infer_roles
from stoker.datasets.loading import load_dataset
from stoker.datasets.records import table
from stoker.datasets.report.label_leaks import label_leaks
from stoker.job.dataset import Dataset
from stoker.job.task import TASKS, TaskName

ROWS = 400
DRAW = np.random.default_rng(0)
NOISE = DRAW.normal(size=ROWS)
CASUAL, REGISTERED = DRAW.poisson(20, ROWS), DRAW.poisson(80, ROWS)
CLASSES = np.where(NOISE + DRAW.normal(size=ROWS) / 2 > 0, "yes", "no")
CURE = "is not known when the model is used, list it in dataset.columns.drop"


def leaks(task: TaskName, **columns: object) -> list[str]:
    records = table(pd.DataFrame({"temperature": NOISE, **columns}), "y")
    dataset = Dataset.model_validate({"source": "t.csv", "columns": {"label": "y"}})
    parts = np.where(np.arange(ROWS) < ROWS * 0.8, "train", "test")
    return list(label_leaks(records, infer_roles(records, dataset, TASKS[task]), TASKS[task].target, parts))


def test_numbers_that_add_up_to_the_label_are_named():
    found = leaks("tabular-regression", casual=CASUAL, registered=REGISTERED, y=CASUAL + REGISTERED)
    named = "columns 'registered' and 'casual' together predict the label 'y' almost perfectly"
    assert found == [f"{named}; if one of them {CURE}"]
    assert leaks("tabular-regression", casual=CASUAL, y=CASUAL + REGISTERED) == []


def test_a_number_that_is_the_label_in_another_unit_is_named():
    found = leaks("tabular-regression", miles=CASUAL / 1.609, y=CASUAL)
    assert found == [f"column 'miles' predicts the label 'y' almost perfectly; if it {CURE}"]


@pytest.mark.parametrize(
    "column",
    [
        np.where(CLASSES == "yes", "Y1", "N1"),
        np.where(CLASSES == "yes", DRAW.uniform(5, 9, ROWS), DRAW.uniform(0, 4, ROWS)),
        np.where(CLASSES == "yes", [f"A{number % 9}" for number in range(ROWS)], "B"),
    ],
)
def test_a_column_that_separates_the_classes_is_named(column: object):
    found = leaks("tabular-classification", code=column, y=CLASSES)
    assert found == [f"column 'code' predicts the label 'y' almost perfectly; if it {CURE}"]


def test_missing_values_and_a_few_exceptions_hide_no_leak():
    code = np.where(CLASSES == "yes", DRAW.uniform(5, 9, ROWS), DRAW.uniform(0, 4, ROWS))
    code[::50] = np.nan
    assert len(leaks("tabular-classification", code=code, y=CLASSES)) == 1
    assert len(leaks("tabular-regression", almost=CASUAL + NOISE / 100, y=CASUAL)) == 1


@pytest.mark.parametrize("name", ["iris", "wine", "breast-cancer", "diabetes", "xor"])
def test_honest_data_has_no_leak(name: str):
    task: TaskName = "tabular-regression" if name == "diabetes" else "tabular-classification"
    notes = load_dataset(Dataset(source=name), TASKS[task]).notes
    assert not [note for note in notes if "almost perfectly" in note]


def test_categories_that_hardly_repeat_are_no_leak():
    names = [f"{each}{number % 45}" for number, each in enumerate(CLASSES)]
    assert len(set(names)) < 100
    assert leaks("tabular-classification", place=names, y=CLASSES) == []


def test_a_rare_class_is_no_leak():
    rare = ["rare" if number == 7 else "usual" for number in range(ROWS)]
    assert leaks("tabular-classification", other=NOISE[::-1], place=["a", "b"] * (ROWS // 2), y=rare) == []


def test_a_sparse_column_hides_no_leak():
    sparse = np.where(np.arange(ROWS) % 90 == 0, NOISE, np.nan)
    assert len(leaks("tabular-regression", sparse=sparse, miles=CASUAL / 1.609, y=CASUAL)) == 1
