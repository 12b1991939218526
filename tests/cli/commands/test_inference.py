"""`predict` before a model is needed: what is refused at once."""

import pytest

from stoker.tracking.run import RunStatus, State


@pytest.fixture(autouse=True)
def run(make_run):
    make_run(status=RunStatus(state=State.SUCCEEDED))


def test_an_unknown_kind_of_output_is_bad_input(stoker, capsys):
    assert stoker("predict", "digits", "--input", "new.csv", "--output", "result.xlsx") == 2
    assert "should end in .csv, .parquet, .jsonl or .json" in capsys.readouterr().err


def test_an_output_without_a_folder_is_bad_input(stoker, tmp_path, capsys):
    assert stoker("predict", "digits", "--input", "new.csv", "--output", tmp_path / "none" / "result.csv") == 2
    assert "there is no folder" in capsys.readouterr().err


def test_an_unknown_format_is_bad_input(stoker, capsys):
    assert stoker("predict", "digits", "--input", "new", "--input-format", "xml") == 2
    assert "'xml' is none of csv, jsonl, parquet" in capsys.readouterr().err


def test_an_input_is_required(stoker, capsys):
    assert stoker("predict", "digits") == 2
    assert "--input" in capsys.readouterr().err


def test_an_unknown_part_is_bad_input(stoker):
    assert stoker("evaluate", "digits", "--part", "some") == 2
