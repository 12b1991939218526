"""Files that are no text in their encoding are refused with the line."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from stoker.datasets.inspection import inspect
from stoker.datasets.loading import read_source
from stoker.errors import JobError
from stoker.job.dataset import Dataset

CURE = "name its encoding in dataset.encoding, such as latin-1"
SQUAD = '{"data": [{"paragraphs": [{"context": "one", "qas": [{"question": "Which?", "answers": []}]}]}]}'
FILES = {
    "csv": ("a.csv", "x,y\none,a\ntwo,b\n"),
    "csv, packed": ("a.csv.gz", "x,y\none,a\ntwo,b\n"),
    "jsonl": ("a.jsonl", '{"x": "one", "y": "a"}\n{"x": "two", "y": "b"}\n'),
    "squad": ("a.json", SQUAD),
    "text": ("a.txt", "one\ntwo\n"),
    "conll": ("a.conll", "one a\ntwo b\n"),
}
every_file = pytest.mark.parametrize(("name", "content"), FILES.values(), ids=FILES)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def problem(path: Path, **settings: Any) -> str:
    with pytest.raises(JobError) as raised:
        read_source(Dataset(source=str(path), **settings))
    (found,) = raised.value.problems
    assert found.path == "dataset.source"
    return found.message.removeprefix(f"cannot read '{path}': ")


def broken(content: str) -> tuple[bytes, int]:
    """Return a content with a byte of latin-1 in the last word, and its line."""
    begin, _, end = content.rpartition("two") if "two" in content else content.rpartition("one")
    return f"{begin}\xe4{end}".encode("latin-1"), begin.count("\n") + 1


@every_file
def test_a_byte_that_is_no_utf_8_is_named_with_its_line_and_the_cure(name: str, content: str, tmp_path: Path):
    damaged, line = broken(content)
    encoding = {"encoding": "utf-8"} if "csv" in name else {}  # it would be taken for cp1252
    path = write(tmp_path / name, damaged)
    expected = f"it is not {encoding.get('encoding', 'UTF-8')} text (line {line}, byte 0xe4); {CURE}"
    assert problem(path, **encoding) == expected
    assert len(read_source(Dataset(source=str(path), encoding="latin-1"))[0])
    columns = {"label": "y"} if "y" in content and "question" not in content else {}
    found = inspect(None, Dataset.model_validate({"source": str(path), "columns": columns, **encoding}), None)
    assert [each.message for each in found] in ([], [f"cannot read '{path}': {expected}"])


def test_the_line_is_counted_in_the_files_own_encoding(tmp_path: Path):
    lines = "x,y\n" + "one,a\n" * 300_000
    path = write(tmp_path / "a.csv", lines.encode("utf-16") + b"\x00\xdc\x0a\x00")
    assert problem(path, encoding="utf-16") == f"it is not utf-16 text (line 300002, byte 0x00); {CURE}"


@pytest.mark.parametrize(("name", "content"), [FILES[each] for each in ("csv", "text", "conll")])
def test_nul_characters_are_refused_with_their_line(name: str, content: str, tmp_path: Path):
    path = write(tmp_path / name, content.replace("two", "t\0wo").encode())
    line = content.partition("two")[0].count("\n") + 1
    assert problem(path).startswith(f"line {line} holds a NUL character, which no text has; remove it, or name the")
    path = write(tmp_path / name, content.encode("utf-16-le"))
    assert len(read_source(Dataset(source=str(path), encoding="utf-16-le"))[0])


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"one\rtwo\r", ["one", "two"]), (b"one\r\ntwo", ["one", "two"]), (b"o\rne\ntwo", ["o\rne", "two"])],
)
def test_a_lone_carriage_return_ends_a_line_only_where_nothing_else_does(content: bytes, expected: Any, tmp_path: Path):
    records, _ = read_source(Dataset(source=str(write(tmp_path / "a.txt", content))))
    assert records.columns["text"].tolist() == expected
