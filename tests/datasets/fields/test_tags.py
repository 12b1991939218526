from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from stoker.datasets.fields.tags import MAX_TAGS, TagsField
from stoker.datasets.loading import LoadedDataset, load_dataset
from stoker.errors import JobError
from stoker.job.dataset import Dataset
from stoker.job.signature import TagsOutput
from stoker.job.task import TASKS


def fit(values: list[object]) -> TagsField:
    return TagsField.fit("genres", pd.Series(values, dtype=object), Dataset(source="films"))


def encoded(field: TagsField, values: list[object]) -> list[list[int]]:
    column = field.encode(pd.Series(values, dtype=object))
    found: list[list[int]] = column.take(torch.arange(len(values))).tolist()
    return found


def message(values: list[object]) -> str:
    with pytest.raises(JobError) as caught:
        fit(values)
    (problem,) = caught.value.problems
    assert problem.path == "dataset.columns.label"
    return problem.message


@pytest.mark.parametrize(
    ("values", "tags", "separator"),
    [
        (["b; a", "c", " a ;c "], ("a", "b", "c"), ";"),
        (["b|a", "a"], ("a", "b"), "|"),
        (["b, a", "c"], ("a", "b", "c"), ","),
        (["Smith, John; Doe, Jane", "Doe, Jane"], ("Doe, Jane", "Smith, John"), ";"),
        (["10,2", 2, 1.0], ("1", "2", "10"), ","),
        (['["x, y", "z"]', "[]", '["z"]'], ("x, y", "z"), ";"),
        (["one", "two"], ("one", "two"), ";"),
    ],
)
def test_the_separator_of_tags_is_inferred(values: list[object], tags: tuple[str, ...], separator: str):
    field = fit(values)
    assert (field.tags, field.separator) == (tags, separator)
    assert field.output == TagsOutput(tags)


def test_a_sample_has_a_1_for_each_of_its_tags():
    field = fit(["a;b", "c"])
    values = ["b; a", "c;c", None, "", "new; c", '["a", "new"]']
    assert encoded(field, values) == [[1, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]]


def test_the_job_may_name_the_tags():
    settings = Dataset.model_validate({"source": "films", "columns": {"classes": ["c", "a"]}})
    field = TagsField.fit("genres", pd.Series(["a;b", "b"]), settings)
    assert encoded(field, ["a; b"]) == [[0, 1]]


def test_names_are_joined_as_in_the_data():
    assert fit(["a;b", "c"]).names([True, False, True]) == "a; c"
    assert fit(["a|b", "c"]).names([True, False, True]) == "a|c"
    assert fit(["a,b", "c"]).names([False, False, False]) == ""


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([None, "", " ; "], "no training row has a tag: there is nothing to learn"),
        (
            ["a", "['b', 'c']"],
            "'['b', 'c']' in column 'genres', row 2, is not a list of names; write a list such as [\"a\", \"b\"]",
        ),
        (
            [f"tag {number}" for number in range(150)],
            f"150 different tags in 150 training rows, at most {MAX_TAGS} can be learnt; "
            "are they texts, or separated by something other than ; | ,?",
        ),
    ],
)
def test_values_without_tags_are_reported(values: list[object], expected: str):
    assert message(values) == expected


def test_many_repeated_tags_are_kept():
    assert len(fit([f"{number};{number + 1}" for number in range(120)] * 2).tags) == 121
    assert message([f"{number}" for number in range(MAX_TAGS + 1)] * 3).startswith(f"{MAX_TAGS + 1} different tags")


def test_the_row_of_a_mistake_is_that_of_the_source():
    rows = pd.Series(["a", "b", "[x]"]).iloc[[2]]
    with pytest.raises(JobError, match="row 3"):
        fit(["a;b"]).encode(rows)


def load(path: Path) -> LoadedDataset:
    columns = {"label": "tags", "features": ["x"]}
    dataset = {"source": str(path), "columns": columns, "split": {"column": "part"}}
    return load_dataset(Dataset.model_validate(dataset), TASKS["multi-label-classification"])


def test_the_separator_and_tags_that_only_held_out_rows_have_are_noted(tmp_path: Path):
    parts = ["train"] * 20 + ["val"] * 5 + ["test"] * 5
    tags = ["a|b", "b"] * 10 + ["a|new"] * 5 + ["other|b"] * 5
    frame = pd.DataFrame({"x": np.arange(30) ** 1.5, "part": parts, "tags": tags})
    frame.to_csv(tmp_path / "data.csv", index=False)
    data = load(tmp_path / "data.csv")
    assert data.notes == (
        "column 'tags': '|' separates 2 tags",
        "column 'tags': no training row has new, other; unlearnt tags are not measured",
    )
    target = data.parts["val"].target
    assert target is not None
    assert target.take(torch.arange(5)).tolist() == [[1, 0]] * 5


def test_lists_of_jsonl_and_parquet_are_tags(tmp_path: Path):
    lists = [["a", "b, c"], [], ["b, c"]] * 10
    frame = pd.DataFrame({"x": np.arange(30) ** 1.5, "part": ["train"] * 20 + ["val"] * 10, "tags": lists})
    frame.to_json(tmp_path / "data.jsonl", orient="records", lines=True)
    frame.to_parquet(tmp_path / "data.parquet")
    for name in ("data.jsonl", "data.parquet"):
        data = load(tmp_path / name)
        assert data.notes == ()
        assert data.fields.target == TagsField("tags", ("a", "b, c"), ";")
        target = data.parts["train"].target
        assert target is not None
        assert target.take(torch.arange(3)).tolist() == [[1, 1], [0, 0], [0, 1]]
