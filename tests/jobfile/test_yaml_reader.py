import math
import time

import pytest

from stoker.errors import JobError
from stoker.jobfile.yaml_reader import Document, Mark, decode, read_document


def read(text: str) -> Document:
    return read_document(text, "job.yaml")


def refusal(text: str) -> tuple[int, int, str]:
    with pytest.raises(JobError) as raised:
        read(text)
    [problem] = raised.value.problems
    return problem.line, problem.column, problem.message


def test_unquoted_words_are_resolved_as_in_yaml_1_2():
    plain = [
        "1e-3",
        ".5",
        "5.",
        "010",
        "0x1f",
        "no",
        "on",
        "yes",
        "1:30",
        "2026-01-01",
        "1_000",
        "true",
        "~",
        "5%",
        "''",
    ]
    values = [0.001, 0.5, 5.0, 10, 31, "no", "on", "yes", "1:30", "2026-01-01", "1_000", True, None, "5%", ""]
    assert read(f"a: [{', '.join(plain)}]").value == {"a": values}
    assert read("a: -.inf").value == {"a": -math.inf}
    assert math.isnan(read("a: .nan").value["a"])


def test_keys_are_text_whatever_they_look_like():
    assert list(read("1: a\ntrue: b\nno: c\n").value) == ["1", "true", "no"]


def test_marks_hold_the_positions_of_keys_values_and_items():
    marks = read("a:\n  b: [x, yy]\n").marks
    assert marks.keys["a.b"] == Mark("job.yaml", 2, 3)
    assert marks.values["a.b.1"] == Mark("job.yaml", 2, 10)
    assert marks.place("a") == Mark("job.yaml", 1, 1)
    assert marks.place("a.b") == Mark("job.yaml", 2, 6)
    assert marks.nearest("a.c.d") == Mark("job.yaml", 1, 1)
    assert marks.nearest("z") is None


@pytest.mark.parametrize("text", ["\ufeffa: 1\nb: 2\n", "a: 1\r\nb: 2\r\n", "---\na: 1\nb: 2\n", "a: &x 1\nb: 2\n"])
def test_byte_order_mark_crlf_and_document_start_are_accepted(text: str):
    assert read(text).value == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (1, 1, "the file is empty; a job needs at least 'task: ...' and 'dataset: ...'")),
        ("# only this\n", (1, 1, "the file is empty; a job needs at least 'task: ...' and 'dataset: ...'")),
        ("- a\n", (1, 1, "expected keys such as 'task: image-classification', got a list")),
        ("word\n", (1, 1, "expected keys such as 'task: image-classification', got a single value")),
        ("a:\n\tb: 1\n", (2, 1, "a tab cannot begin a value or indent a line; use spaces")),
        ("a: b: c", (1, 5, "a second ':' in one value, or a wrong indentation; put such text in quotes")),
        ("a: 'b\nc: d\n", (1, 4, "the quote that opens here is never closed")),
        ("a: [1, 2\nb: 3\n", (1, 4, "the list '[' that opens here is not closed, or a ',' is missing")),
        ("a: {b: 1\n", (1, 4, "the object '{' that opens here is not closed, or a ',' is missing")),
        ("a: 1\nb\n", (2, 1, "expected 'key: value'")),
        ("a: - b", (1, 4, "a list item '-' is not allowed here; begin it on a line of its own")),
        ("a: @b", (1, 4, "'@' cannot begin a value; put the text in quotes")),
        ("a: *.csv", (1, 5, "'*' and '&' are special in YAML; put the text in quotes")),
        ("a: *b", (1, 4, "this alias has no anchor; put text that begins with '*' in quotes")),
        ('a: "\\q"', (1, 6, "unknown escape in double quotes; use single quotes")),
        ('a: "\\UFFFFFFFF"', (1, 1, "not YAML; check indentation, quotes and brackets here")),
        ("a: 1\n---\nb: 2\n", (2, 1, "one job per file: a second document begins here")),
        ("a: 1\n...\nb: 2\n", (3, 1, "one job per file: a second document begins here")),
        ("a: &a [*a]", (1, 4, "an alias cannot be used inside the value that it stands for")),
        ("a: b\x00c", (1, 5, "the character U+0000 is not allowed in a job")),
        ("\ud800: a", (1, 1, "the character U+D800 is not allowed in a job")),
        ("a: " + "[" * 3000, (1, 67, "more than 64 levels deep")),
        ("#" * 300_000, (1, 1, "larger than 256 KiB, the limit for a job")),
    ],
)
def test_a_syntax_error_is_reported_in_plain_words(text: str, expected: tuple[int, int, str]):
    assert refusal(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", (3, 1, "a", "duplicate key 'a': lines 1 and 3")),
        (
            "a: !!python/name:os.system x",
            (1, 4, "a", "the tag '!!python/name:os.system' is not supported; write a plain value"),
        ),
        ("a: !env HOME", (1, 4, "a", "the tag '!env' is not supported; write a plain value")),
        ("a: !!int b", (1, 4, "a", "'b' is not a whole number")),
        ("a: {<<: {b: 1}}", (1, 5, "a.<<", "merge keys are not supported; write the keys out, or use 'extends'")),
        ("[a]: 1", (1, 1, "", "a key must be text")),
        ("~: 1", (1, 1, "", "a key must be text")),
        ("a: " + "9" * 5000, (1, 4, "a", f"'{'9' * 37}...' is not a whole number")),
    ],
)
def test_mistakes_after_which_reading_can_continue_are_collected(text: str, expected: tuple[int, int, str, str]):
    [problem] = read(text).problems
    assert (problem.line, problem.column, problem.path, problem.message) == expected


def test_an_alias_bomb_costs_nothing():
    levels = "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]\n" for i in range(1, 10))
    start = time.process_time()
    line, _, message = refusal("l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n" + levels)
    assert message == "more than 10,000 values, counting what each alias stands for"
    assert line == 1
    assert time.process_time() - start < 2


def test_a_long_list_is_refused_before_all_of_it_is_read():
    start = time.process_time()
    assert refusal("a: [" + "1," * 120_000 + "]")[2] == "more than 10,000 values"
    assert time.process_time() - start < 3


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a: 1\nb: \xff\n", (2, 4, "byte 0xff is not UTF-8; save the file as UTF-8")),
        ("a: 1".encode("utf-16"), (1, 1, "the text is UTF-16; save the file as UTF-8")),
        (b"x" * 300_000, (1, 1, "larger than 256 KiB, the limit for a job")),
    ],
)
def test_other_encodings_are_refused(data: bytes, expected: tuple[int, int, str]):
    with pytest.raises(JobError) as raised:
        decode(data, "job.yaml")
    [problem] = raised.value.problems
    assert (problem.line, problem.column, problem.message) == expected
