"""Which samples are normal, and where the others go."""

import numpy as np
import pandas as pd
import pytest

from stoker.datasets.fields.inference import Roles
from stoker.datasets.records import Records
from stoker.datasets.split import choose_parts
from stoker.datasets.values.normality import labels_of
from stoker.errors import JobError
from stoker.job.dataset import Dataset

ROLES = Roles({"image": "image"}, "label", ())
VALUES = ["good"] * 40 + ["crack", "dent"] * 10


def records(values: list[str], parts: list[str] | None = None) -> Records:
    columns = {"image": np.zeros((len(values), 2, 2), np.uint8), "label": pd.Series(values, dtype=object)}
    return Records(columns, "label", None if parts is None else np.array(parts))


def dataset(normal: list[str] | None = None, **split: float) -> Dataset:
    return Dataset.model_validate({"source": "x", "columns": {"normal": normal}, "split": split})


def parts_of(of: Records, settings: Dataset) -> pd.DataFrame:
    labels = labels_of(of, ROLES, "normality", settings)
    frame = pd.DataFrame({"part": choose_parts(of, settings, labels), "odd": labels.odd})
    return frame.groupby("part")["odd"].agg(["size", "sum"])


def test_anomalies_are_kept_for_validation_and_test():
    found = parts_of(records(VALUES), dataset(["good"]))
    assert found.loc["train"].tolist() == [32, 0]
    assert found.loc["val"].tolist() == [14, 10]
    assert found.loc["test"].tolist() == [14, 10]
    everything = parts_of(records(VALUES), dataset(["good"], train=0.8, val=0.0, test=0.2))
    assert everything.loc["test"].tolist() == [28, 20]


def test_a_source_that_is_split_itself_says_what_is_normal():
    parts = ["train"] * 30 + ["val"] * 5 + ["test"] * 25
    found = parts_of(records(VALUES, parts), dataset())
    assert found.to_dict("index") == {
        "train": {"size": 30, "sum": 0}, "val": {"size": 5, "sum": 0}, "test": {"size": 25, "sum": 20},
    }  # fmt: skip


def test_anomalies_in_a_given_training_part_are_left_out():
    found = parts_of(records(VALUES, ["train"] * 50 + ["test"] * 10), dataset(["good"], val=0.0))
    assert found.to_dict("index") == {
        "": {"size": 10, "sum": 10}, "train": {"size": 40, "sum": 0}, "test": {"size": 10, "sum": 10},
    }  # fmt: skip


def test_one_class_alone_is_normal():
    labels = labels_of(records(["good"] * 5), ROLES, "normality", dataset())
    assert not labels.odd.any()


@pytest.mark.parametrize(
    ("normal", "message"),
    [
        (None, "name the classes of 'label' that are normal, such as [good]; it has: crack, dent, good"),
        (["fine"], "'fine' is no class of 'label'; it has: crack, dent, good"),
    ],
)
def test_what_is_normal_must_be_known(normal, message):
    with pytest.raises(JobError) as caught:
        labels_of(records(VALUES), ROLES, "normality", dataset(normal))
    assert [(each.path, each.message) for each in caught.value.problems] == [("dataset.columns.normal", message)]
