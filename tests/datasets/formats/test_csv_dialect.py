import csv
import gzip
from pathlib import Path

import pytest

from stoker.datasets.formats.csv_dialect import DELIMITER_LINES, HEAD_BYTES, Dialect, csv_dialect


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.csv"


def dialect(path: Path, content: str | bytes) -> Dialect:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return csv_dialect(path)


@pytest.mark.parametrize(
    ("header", "expected"),
    [("a,b", ","), ("a;b", ";"), ("a\tb", "\t"), ("a|b", "|"), ("a", ","), ("'x;y',b,c", ","), ('"x;y;z;w",b', ",")],
)
def test_the_delimiter_is_what_the_header_holds_most_of(path: Path, header: str, expected: str):
    assert dialect(path, f"{header}\n").delimiter == expected


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize(
    "rows",
    [
        [["a fine, long, text", "1"], ["short; good", "0"]],
        [["one, two", "1"], ["three, four", "0"]],
        [["1,5", "2,5"], ["2,75", "1,0"]],
        [[f"he said `so`, and\nleft; {number}", "1"] for number in range(40)],
        [["", ""], ["x", ""]],
    ],
    ids=["some-commas", "a-comma-each", "decimal-commas", "lines-in-texts", "empty-values"],
)
def test_delimiter_and_quote_split_all_rows_into_as_many_values(
    path: Path, delimiter: str, quote: str, rows: list[list[str]]
):
    quoting = csv.QUOTE_MINIMAL if quote == '"' else csv.QUOTE_ALL
    rows = [[value.replace("`", quote) for value in row] for row in rows]
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter, quotechar=quote, quoting=quoting).writerows([["text", "label"], *rows])
    assert csv_dialect(path) == Dialect(delimiter, quote=quote)


def test_a_tsv_is_separated_by_tabs_whatever_its_texts_hold(tmp_path: Path):
    assert dialect(tmp_path / "a.tsv", "one, two\n three, four\n").delimiter == ","
    assert dialect(tmp_path / "a.tsv", "one\ntwo, three\n").delimiter == "\t"
    assert dialect(tmp_path / "a.tsv", "one, two, three\t1\nfour, five, six\t2\n").delimiter == "\t"


@pytest.mark.parametrize(
    "rows",
    [
        ["'tis good,1", "dogs',0"],
        ["'quoted',1", "not,0", "nor this,1"],
        ["rock 'n' roll,1", "it's,0"],
        ["\"it is 'so'\",'a'", "\"it is 'so'\",'b'"],
        ["['a', 'b', 'c']\t1", "['d', 'e']\t0"],
        ["['a'; 'b'; 'c']\t1", "['d'; 'e'; 'f']\t0"],
    ],
    ids=["apostrophes", "one-value", "inside", "within-double-quotes", "lists", "even-lists"],
)
def test_apostrophes_are_no_quotes(path: Path, rows: list[str]):
    assert dialect(path, "\n".join(["text,y", *rows])).quote == '"'


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("x,y\nGrün,1\n".encode(), "utf-8"),
        ("x,y\nGrün,1\n".encode("utf-8-sig"), "utf-8"),
        ("x,y\nGrün,1\n".encode("utf-16"), "utf-16"),
        ("x,y\nGrün,1\n".encode("utf-16-le"), "utf-8"),  # without a mark it is UTF-8 with zeros
        (b"\xfe\xff" + "x,y\nGrün,1\n".encode("utf-16-be"), "utf-16"),
        ("x,y\nGrün,1\n".encode("cp1252"), "cp1252"),
        ("x,y\n20 €,1\n".encode("cp1252"), "cp1252"),
        (("x,y\n" + "Grün,1\n" * 20 + "»Fuß»,1\n").encode("cp1252"), "cp1252"),
        (("x,y\n" + "Grün,1\n" * 20).encode() + b"Gr\xc3n,1\n", "utf-8"),
        ("x,y\nпривет,1\nмир,0\n".encode("cp1251"), "utf-8"),
        ("x,y\n中文,1\n".encode("gbk"), "utf-8"),
        ("x,y\nこんにちは,1\n".encode("shift-jis"), "utf-8"),
        (b"x,y\n\x81,1\n", "utf-8"),
        (b"x,y\n\xfc\x00,1\n", "utf-8"),
    ],
    ids=[
        "utf-8",
        "mark",
        "utf-16",
        "no-mark",
        "big",
        "umlaut",
        "euro",
        "both",
        "damaged",
        "cyrillic",
        "chinese",
        "japanese",
        "no-letter",
        "binary",
    ],
)
def test_the_encoding_is_found_by_what_the_bytes_can_mean(path: Path, content: bytes, expected: str):
    assert dialect(path, content).encoding == expected
    path = path.with_name("a.csv.gz")
    assert dialect(path, gzip.compress(content)).encoding == expected


def test_the_encoding_is_found_far_behind_the_first_lines_and_a_cut_letter_is_no_mistake(path: Path):
    rows = "x;y\n" + "a;b\n" * (HEAD_BYTES // 8)
    assert len(rows) > DELIMITER_LINES * 100
    assert dialect(path, (rows + "Grün;1\n").encode("cp1252")) == Dialect(";", "cp1252")
    filled = "x;y\n".ljust(HEAD_BYTES - 1, "a")
    assert dialect(path, filled + "ü;1\n").encoding == "utf-8"


def test_a_dialect_is_said_in_words():
    assert Dialect(";", "cp1252").text == "';' separated, cp1252, quoted by \""
    assert Dialect("\t", quote="'").text == "tab separated, utf-8, quoted by '"
