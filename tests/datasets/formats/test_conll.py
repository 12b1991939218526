"""Columns of words and tags."""

import json
from pathlib import Path
from typing import Any

import pytest

from stoker.datasets.loading import load_dataset, read_source
from stoker.datasets.records import Records
from stoker.errors import JobError
from stoker.job.dataset import Dataset
from stoker.job.task import TASKS

TASK = TASKS["token-classification"]
LINES = "each word has its tags in its own line, and a blank line ends a sentence"
ENCODING = "name its encoding in dataset.encoding, such as latin-1"


def read(path: Path, content: str | bytes = "", **settings: Any) -> Records:
    if content:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    records, found = read_source(Dataset.model_validate({"source": str(path), **settings}))
    assert found == "conll"
    return records


def lists(records: Records, name: str) -> list[list[str]]:
    return [json.loads(cell) for cell in records.frame[name]]


def problem(path: Path, content: str | bytes, **settings: Any) -> str:
    with pytest.raises(JobError) as caught:
        read(path, content, **settings)
    (found,) = caught.value.problems
    assert found.path == "dataset.source"
    return found.message


@pytest.mark.parametrize("between", ["\t", " ", " \t ", "  "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_sentence_is_a_row_of_lists(tmp_path: Path, between: str, end: str):
    lines = ["EU B-ORG", "rejects O", "", "", "Ann B-PER", ""]
    records = read(tmp_path / "a.conll", end.join(line.replace(" ", between) for line in lines))
    assert lists(records, "words") == [["EU", "rejects"], ["Ann"]]
    assert lists(records, "tags") == [["B-ORG", "O"], ["B-PER"]]
    assert (records.label, records.parts) == ("tags", None)


def test_the_last_column_is_the_tag_unless_the_job_names_columns(tmp_path: Path):
    content = "EU NNP I-NP B-ORG\nrejects VBZ I-VP O\n"
    records = read(tmp_path / "a.conll", content)
    assert list(records.columns) == ["words", "tags"]
    assert lists(records, "tags") == [["B-ORG", "O"]]
    names = {"names": ["word", "pos", "chunk", "entity"]}
    assert read(tmp_path / "a.conll", columns=names).label == "entity"
    named = read(tmp_path / "a.conll", columns={**names, "label": "pos"})
    assert (named.label, lists(named, "pos"), lists(named, "word")) == ("pos", [["NNP", "VBZ"]], [["EU", "rejects"]])


def test_comments_and_borders_of_documents_are_left_out(tmp_path: Path):
    tabs = "# id = 1\n#\tO\none\tO\n# late comment\n\n-DOCSTART-\tO\n\n#\tB-X\n"
    assert lists(read(tmp_path / "tabs.conll", tabs), "words") == [["#", "one"], ["#"]]
    blanks = "-DOCSTART- O\n\n# id 1\n# O\none O\n# O\n# three words here\n\ntwo O\n"
    assert lists(read(tmp_path / "blanks.conll", blanks), "words") == [["one", "#"], ["two"]]


def test_blank_lines_may_hold_tabs_and_what_is_left_of_joined_files(tmp_path: Path):
    content = "\ufeffone\tO\n\t\ntwo\tO\n \n\ufeff\nthree\tO\n"
    assert lists(read(tmp_path / "a.conll", content), "words") == [["one"], ["two"], ["three"]]


def test_a_word_between_tabs_may_hold_a_blank(tmp_path: Path):
    assert lists(read(tmp_path / "a.conll", "20 000\tNUM\n"), "words") == [["20 000"]]


def test_files_of_a_folder_are_its_parts(tmp_path: Path):
    for name, word in {"train.conll": "one", "dev.conll": "two", "test.conll": "three"}.items():
        (tmp_path / name).write_text(f"{word} O\n\n{word} B-X\n")
    records = read(tmp_path)
    assert records.parts is not None
    words = dict(zip(records.parts, lists(records, "words"), strict=True))
    assert words == {"train": ["one"], "val": ["two"], "test": ["three"]}
    data = load_dataset(Dataset(source=str(tmp_path)), TASK)
    assert {part: len(samples) for part, samples in data.parts.items()} == {"train": 2, "val": 2, "test": 2}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("one O\ntwo X O\n", f"line 2 has 3 columns, line 1 has 2; {LINES}"),
        ("one X O\n\n# a\ntwo O\n", f"line 4 has 2 columns, line 1 has 3; {LINES}"),
        ("one\tO\n\ntwo O\n", f"line 3 has 1 column, line 1 has 2; {LINES}"),
        (
            "one\ntwo\n",
            "line 1 has no tag: a word and its tag belong in a line, with a tab or a blank between them; "
            "to predict, write the sentences as text",
        ),
        ("\n# nothing\n", "it holds no words"),
        ("Zürich O\n".encode("latin-1"), f"it is not UTF-8 text (line 1, byte 0xfc); {ENCODING}"),
        (b"one O\ntwo O\n\xff O\n", f"it is not UTF-8 text (line 3, byte 0xff); {ENCODING}"),
    ],
)
def test_a_broken_file_is_reported_by_its_name_and_line(tmp_path: Path, content: str | bytes, expected: str):
    path = tmp_path / "a.conll"
    assert problem(path, content) == f"cannot read '{path}': {expected}"
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "dev.conll").write_text("one O\n")
    file = tmp_path / "more" / "train.conll"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    assert problem(tmp_path / "more", "") == f"cannot read '{file}': {expected}"


def test_names_that_do_not_fit_are_reported(tmp_path: Path):
    path = tmp_path / "a.conll"
    expected = f"cannot read '{path}': line 2 has 3 columns, dataset.columns.names names 2; {LINES}"
    assert problem(path, "# comment\none X O\n", columns={"names": ["word", "tag"]}) == expected


def test_another_encoding_is_named_by_the_job(tmp_path: Path):
    records = read(tmp_path / "a.conll", "Zürich B-LOC\n".encode("latin-1"), encoding="latin-1")
    assert lists(records, "words") == [["Zürich"]]


def test_a_label_that_is_no_column_is_reported(tmp_path: Path):
    (tmp_path / "a.conll").write_text("one O\n\ntwo B-X\n" * 9)
    with pytest.raises(
        JobError, match=r"dataset\.columns\.label: no column 'ner' in a\.conll \(columns: words, tags\)"
    ):
        load_dataset(Dataset.model_validate({"source": str(tmp_path / "a.conll"), "columns": {"label": "ner"}}), TASK)
