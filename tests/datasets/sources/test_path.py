"""Patterns of paths."""

from pathlib import Path

import pytest

from stoker.datasets.sources.path import PathSource, is_pattern
from stoker.errors import JobError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("data/a.csv", "data/b.csv", "data/notes.txt", "data/deep/c.csv"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("data/*.csv", ["a.csv", "b.csv"]),
        ("data/**/*.csv", ["a.csv", "b.csv", "deep/c.csv"]),
        ("data/d*", ["deep/c.csv"]),
        ("d*/a.csv", ["data/a.csv"]),
        ("data/[ab].csv", ["a.csv", "b.csv"]),
    ],
)
def test_a_pattern_names_files_relative_to_its_fixed_part(pattern, names):
    source = PathSource(pattern)
    files = source.files()
    assert [file.name for file in files] == names
    assert all(source.local(file).is_file() for file in files)


def test_one_file_is_the_source_itself(folder):
    (file,) = (source := PathSource("data/a.csv")).files()
    assert (file.name, file.is_source, source.local(file)) == ("a.csv", True, folder / "data" / "a.csv")


def test_a_file_whose_name_looks_like_a_pattern_is_a_file():
    Path("data/[x].csv").write_text("1")
    assert not is_pattern("data/[x].csv")
    assert [file.is_source for file in PathSource("data/[x].csv").files()] == [True]


def test_a_pattern_without_matches_is_reported():
    with pytest.raises(JobError, match=r"dataset\.source: no file matches 'data/\*\.parquet'"):
        PathSource("data/*.parquet").files()
