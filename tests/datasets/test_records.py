from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stoker.datasets.records import Files, Records, in_memory, table

FILES = Files(tuple(Path(f"/data/{name}.png") for name in "abcd"), Path("/data"))


@pytest.fixture
def records() -> Records:
    pixels = np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1)
    columns = {"x": pd.Series([1, 2, 3, 4]), "image": pixels, "file": FILES}
    return Records(columns, "x", np.array(["train", "train", "val", "test"]), tuple("abcd"))


def test_a_table_becomes_records(records: Records):
    frame = pd.DataFrame({"x": [1, 2], 7: ["a", "b"]})
    made = table(frame, "x", np.array(["train", "val"]))
    assert list(made.columns) == ["x", "7"]
    assert made.label == "x"
    assert made.parts is not None
    assert len(made) == 2
    assert made.is_table
    assert not records.is_table


def test_records_without_columns_are_empty():
    assert len(Records({})) == 0
    assert not Records({}).is_table


def test_rows_keep_all_values_of_a_record(records: Records):
    picked = records.rows(np.array([3, 0, 3]))
    assert len(picked) == 3
    assert picked.frame["x"].tolist() == [4, 1, 4]
    image, file = picked.columns["image"], picked.columns["file"]
    assert isinstance(image, np.ndarray)
    assert image.flatten().tolist() == [3, 0, 3]
    assert isinstance(file, Files)
    assert file.names() == ("d.png", "a.png", "d.png")
    assert picked.names == ("d", "a", "d")
    assert picked.parts is not None
    assert picked.parts.tolist() == ["test", "train", "test"]
    assert picked.label == "x"


def test_the_frame_has_only_columns_of_single_values(records: Records):
    assert list(records.frame.columns) == ["x"]


def test_files_keep_their_content():
    content = np.arange(4).reshape(4, 1)
    read = Files(FILES.paths, FILES.root, content).rows(np.array([2, 1]))
    assert in_memory(read) is read.content
    assert read.content is not None
    assert read.content.tolist() == [[2], [1]]
    assert in_memory(FILES) is None
    assert in_memory(pd.Series([1])) is None
    assert in_memory(content) is content


def test_files_without_a_folder_are_named_by_their_whole_path():
    assert Files(FILES.paths[:1]).names() == ("/data/a.png",)
