"""Datasets that are not a single local file, from the job to samples."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from stoker.datasets.loading import load_dataset, read_source
from stoker.errors import JobError
from stoker.job.dataset import Dataset
from stoker.job.task import TASKS

ROWS = "x,y\n" + "".join(f"{number + 0.5},{'ab'[number % 2]}\n" for number in range(20))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOKER_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def dataset(source: str, **keys: object) -> Dataset:
    return Dataset.model_validate({"source": source, "columns": {"label": "y"}, **keys})


def test_a_table_on_a_web_server_is_read_and_keeps_its_address(web):
    web.files["/train.csv"] = ROWS.encode()
    url = f"{web.url}/train.csv"
    loaded = load_dataset(dataset(url), TASKS["tabular-classification"])
    assert (loaded.spec.source, loaded.spec.format) == (url, "csv")
    again = load_dataset(loaded.spec, TASKS["tabular-classification"])
    assert again.fingerprint == loaded.fingerprint
    assert len(web.gets()) == 1


@pytest.mark.parametrize("source", ["s3://datasets/parts/", "s3://datasets/parts"])
def test_the_files_of_a_prefix_are_one_table(put: Callable[..., None], source: str):
    head, *lines = ROWS.splitlines(keepends=True)
    put({"parts/a.csv": (head + "".join(lines[:5])).encode(), "parts/b.csv": (head + "".join(lines[5:])).encode()})
    raw, format_name = read_source(dataset(source))
    assert (list(raw.frame["x"]), format_name) == ([number + 0.5 for number in range(20)], "csv")


def test_pictures_of_a_prefix_keep_their_classes(put: Callable[..., None]):
    def png(color: int) -> bytes:
        Image.new("L", (4, 4), color).save(out := io.BytesIO(), "png")
        return out.getvalue()

    put({f"pets/{name}/{number}.png": png(number) for name in ("cats", "dogs") for number in range(3)})
    raw, format_name = read_source(Dataset(source="s3://datasets/pets/"))
    assert (sorted(raw.columns["label"]), format_name) == (["cats"] * 3 + ["dogs"] * 3, "image-folder")


def test_the_files_of_a_pattern_are_one_table_whose_source_is_absolute(tmp_path: Path):
    for name in ("a.csv", "b.csv"):
        Path(name).write_text(ROWS)
    Path("notes.txt").write_text("x")
    loaded = load_dataset(dataset("*.csv"), TASKS["tabular-classification"])
    assert loaded.spec.source == str(tmp_path / "*.csv")
    assert sum(loaded.counts[part][name] for part in loaded.counts for name in "ab") == 40


def test_files_of_one_table_have_the_same_columns():
    Path("parts").mkdir()
    Path("parts/a.csv").write_text(ROWS)
    Path("parts/b.csv").write_text(ROWS.replace("x,y", "x,z"))
    with pytest.raises(JobError, match=r"'parts/b\.csv' and 'a\.csv' differ in their columns: y, z"):
        read_source(dataset("parts"))


def test_an_address_with_an_ambiguous_name_needs_a_format(web):
    web.files["/download"] = ROWS.encode()
    with pytest.raises(JobError, match=r"the name 'download' does not identify the format; set dataset\.format"):
        read_source(dataset(f"{web.url}/download"))
    raw, _ = read_source(dataset(f"{web.url}/download", format="csv"))
    assert len(raw) == 20


def test_a_misspelt_scheme_is_a_job_error():
    with pytest.raises(JobError, match=r"dataset\.source: 's4://' is unknown; did you mean 's3://'\?"):
        read_source(dataset("s4://bucket/train.csv"))
