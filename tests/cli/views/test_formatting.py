"""Numbers and times as people write them."""

import json

import pytest

from stoker.cli.commands.logs import parse_seconds
from stoker.cli.views.formatting import age_text, duration_text, number_text, shortened, value_text
from stoker.cli.views.tables import fields_text, print_json, table_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (42.4, "42 s"),
        (60, "1 min"),
        (192, "3 min 12 s"),
        (7500, "2 h 5 min"),
        (90061, "1 d 1 h"),
        (-1, "0 s"),
    ],
)
def test_durations_have_two_units_at_most(seconds, text):
    assert duration_text(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "now"), (59, "59 s"), (3599, "59 min"), (86400, "1 d")])
def test_ages_have_one_unit(seconds, text):
    assert age_text(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("10 min", 600), ("2h", 7200), ("1.5 h", 5400)]
)
def test_lengths_of_time_are_read(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "10 parsecs", "-3s", "m"])
def test_other_words_are_no_length_of_time(text):
    with pytest.raises(ValueError, match="is not a duration"):
        parse_seconds(text)


def test_metrics_have_four_digits():
    assert [number_text(value) for value in (0.97123, 12345.6, 1e-7)] == ["0.9712", "1.235e+04", "1e-07"]


def test_numbers_stand_to_the_right():
    assert table_text(["part", "n"], [["a", "1"], ["b", "100"]], right=("n",)).splitlines() == [
        "\x1b[1mpart\x1b[0m    \x1b[1mn\x1b[0m",
        "a       1",
        "b     100",
    ]


def test_empty_fields_are_left_out(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert fields_text([("a", "1"), ("long", ""), ("bc", "2")]) == "a   1\nbc  2"


def test_json_is_what_every_reader_takes(capsys):
    print_json({"a": [float("inf"), 1.5], "b": ("é", float("nan"))})
    assert json.loads(capsys.readouterr().out) == {"a": [None, 1.5], "b": ["é", None]}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((3e-4, "3e-4"), (1.234e-5, "1.23e-5"), (0.001, "0.001"), (0.5, "0.5"), (0.0, "0"), (-2e-4, "-2e-4")),
        *((64, "64"), (2e5, "2e5"), ("adamw", "adamw"), (True, "true"), (None, "null"), ([128, 64], "[128,64]")),
    ],
)
def test_values_of_a_job_are_brief(value, text):
    assert value_text(value) == text


def test_what_is_too_wide_is_cut():
    assert (shortened("accuracy", 8), shortened("accuracy", 5)) == ("accuracy", "accu\u2026")
