import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stoker.datasets.loading import load_dataset, read_source
from stoker.datasets.samples import Table
from stoker.errors import JobError
from stoker.job.dataset import Dataset
from stoker.job.task import TASKS


def read(path: Path) -> pd.DataFrame:
    raw, _ = read_source(Dataset.model_validate({"source": str(path), "columns": {"label": "y"}}))
    assert isinstance(raw, Table)
    assert raw.label == "y"
    return raw.frame


def problem(path: Path) -> str:
    with pytest.raises(JobError) as caught:
        read(path)
    (found,) = caught.value.problems
    assert found.path == "dataset.source"
    return found.message


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_text_is_read_whatever_separates_it(tmp_path: Path, delimiter: str):
    path = tmp_path / "a.csv"
    path.write_text(f"x{delimiter}y\n1{delimiter}a\n{delimiter}NA\n")
    frame = read(path)
    assert list(frame.columns) == ["x", "y"]
    assert frame.isna().to_numpy().tolist() == [[False, False], [True, True]]


def test_packed_text_is_read(tmp_path: Path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"x,y\n1,2\n"))
    assert read(path).to_numpy().tolist() == [[1, 2]]


def test_rows_longer_than_the_header_are_told(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("x,y\n1,2,3\n4,5,6\n")
    assert problem(path) == f"cannot read '{path}': its rows have more values than its header"
    path.write_text("x,y\n1,2\n4,5,6\n")
    assert problem(path).startswith(f"cannot read '{path}': ")


@pytest.mark.parametrize("content", [b"", b"x,y\n\xff\xfe,1\n"])
def test_what_is_no_text_is_told(tmp_path: Path, content: bytes):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    assert problem(path).startswith(f"cannot read '{path}': ")


def test_parquet_is_read(tmp_path: Path):
    frame = pd.DataFrame({"x": [1.5, None], "y": ["a", "b"]}, index=[7, 8])
    frame.to_parquet(tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(read(tmp_path / "a.parquet"), frame.reset_index(drop=True))


def test_what_is_not_parquet_is_told(tmp_path: Path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"no parquet")
    assert problem(path).startswith(f"cannot read '{path}': ")


def test_lists_in_a_table_are_left_out_with_a_note(tmp_path: Path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=40), "tags": [[n] for n in range(40)], "y": ["a", "b"] * 20})
    frame.to_parquet(tmp_path / "a.parquet")
    dataset = Dataset.model_validate({"source": str(tmp_path / "a.parquet"), "columns": {"label": "y"}})
    data = load_dataset(dataset, TASKS["tabular-classification"])
    assert data.spec.columns.features == ("x",)
    assert data.notes[0].startswith("column 'tags' is left out: 40 different texts")
