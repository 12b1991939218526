from decimal import Decimal
from math import isnan

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.datasets.values.numerals import MISSING, DecimalMark, notation, read_number, read_numbers


@pytest.mark.parametrize(
    ("text", "point", "comma"),
    [
        ("12", 12.0, 12.0),
        ("-1.5", -1.5, None),
        ("0,1257", None, 0.1257),
        ("1,234", 1234.0, 1.234),
        ("1,234.50", 1234.5, None),
        ("1.234,50", None, 1234.5),
        ("1 234 567", 1234567.0, 1234567.0),
        ("1\u00a0234,5", None, 1234.5),
        ("1'234.5", 1234.5, None),
        ("$1,234.50", 1234.5, None),
        ("-$3", -3.0, -3.0),
        ("\u20ac 12", 12.0, 12.0),
        ("12 EUR", 12.0, 12.0),
        ("45 %", 45.0, 45.0),
        ("(1,234)", -1234.0, -1.234),
        ("\u22125", -5.0, -5.0),
        ("1e5", 1e5, 1e5),
        (".5", 0.5, None),
        (",5", None, 0.5),
        (" 7 ", 7.0, 7.0),
        (7, 7.0, 7.0),
        (Decimal("1.5"), 1.5, 1.5),
    ],
)
def test_a_number_is_read_by_its_decimal_mark(text: object, point: float | None, comma: float | None):
    for decimal, number in ((".", point), (",", comma)):
        found = read_number(text, decimal)  # type: ignore[arg-type]
        assert isnan(found) if number is None else found == number


@pytest.mark.parametrize("text", ["", "x", "1-2", "1.2.3", "1,2,3", "12,34.5", "5 kg", "2024-01-02", "--5", "$", None])
def test_other_texts_are_no_numbers(text: object):
    assert isnan(read_number(text, "."))
    assert isnan(read_number(text, ","))


@pytest.mark.parametrize(
    ("cells", "decimal", "example"),
    [
        (["0,1", "3", "2,25"], ",", "0,1"),
        (["1,234", "5,678"], ".", "1,234"),
        (["1,234", "5,67"], ",", "1,234"),
        (["1", "2.5"], ".", None),
        (["$3", "$4"], ".", "$3"),
    ],
)
def test_the_decimal_mark_is_the_one_that_fits(cells: list[str], decimal: str, example: str | None):
    found = notation(pd.Series(cells))
    assert found
    assert (found.decimal, found.example) == (decimal, example)


@pytest.mark.parametrize("mark", sorted(MISSING))
def test_a_usual_mark_of_a_missing_value_does_not_count(mark: str):
    found = notation(pd.Series(["1,5", mark.upper(), mark, "2,5", "3"]))
    assert found
    assert found.decimal == ","
    assert set(found.others) == {mark, mark.upper()}


def test_other_texts_count_as_missing_only_if_almost_all_cells_are_numbers():
    many = pd.Series([*map(str, range(100)), "broken", "see note"])
    found = notation(many)
    assert found
    assert set(found.others) == {"broken", "see note"}
    assert notation(pd.Series(["1", "2", "3+"])) is None


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(["a", "b"]),
        pd.Series([1, 2]),
        pd.Series([True, None, False], dtype=object),
        pd.Series(["1", "2"], dtype="category"),
        pd.Series(pd.to_datetime(["2024-01-01"])),
        pd.Series([], dtype=object),
        pd.Series(["?", "?"]),
        pd.Series(["02139", "94110", "10001"]),
    ],
)
def test_a_column_without_written_numbers_has_no_notation(column: pd.Series):
    assert notation(column) is None


@given(st.lists(st.decimals(-(10**9), 10**9, places=3), min_size=1, max_size=10), st.sampled_from([".", ","]))
def test_what_is_written_is_read(numbers: list[Decimal], decimal: DecimalMark):
    swap = str.maketrans(",.", ",." if decimal == "." else ".,")
    grouped = pd.Series([f"{number:,.3f}".translate(swap) for number in numbers])
    plain = pd.Series([f"{number:.3f}".replace(".", decimal) for number in numbers])
    for column in (grouped, plain):
        assert read_numbers(column, decimal) == pytest.approx(np.array(numbers, float), rel=1e-12)
