"""Numbers written as text: with a decimal comma, thousands separators, a currency or a percent sign."""

import re
from dataclasses import dataclass
from decimal import Decimal
from math import nan
from numbers import Real
from typing import Literal

import numpy as np
import pandas as pd

DecimalMark = Literal[".", ","]
INSPECTED_CELLS = 1000
"""Cells that are looked at before all of a column are."""
ALMOST_ALL = 0.95
"""Share of numbers among the known cells from which a column of texts holds numbers."""
MISSING = frozenset({"?", "-", "--", ".", "n.a.", "n/a", "na", "nan", "nil", "none", "null", "unknown", "missing"})
"""Texts for a missing value, in lower case; others count as missing where almost all cells are numbers."""

_CODE = re.compile(r"0\d+")
"""A postal code or the like: no number begins with a zero."""
_SIGN = r"[-+\u2212]?"
_CODES = "AUD|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|HKD|HUF|INR|JPY|KRW|MXN|NOK|NZD|PLN|RUB|SEK|SGD|TRY|USD|ZAR"
_CURRENCY = rf"(?:[$\u00a3\u00a5\u20a0-\u20cf]|(?:{_CODES}))"
_SPACES = r"[ \u00a0\u2009\u202f]"


def _pattern(decimal: DecimalMark) -> re.Pattern[str]:
    """Return the pattern of a number; its groups are the sign, the digits before the decimal mark and the rest."""
    mark, separator = re.escape(decimal), r"\." if decimal == "," else ","
    grouped = rf"\d{{1,3}}(?P<by>{separator}|'|\u2019|{_SPACES})\d{{3}}(?:(?P=by)\d{{3}})*"
    fraction = rf"(?P<fraction>{mark}\d*)?(?P<exponent>[eE][-+]?\d+)?"
    before = rf"(?P<sign>{_SIGN}){_SPACES}?(?:{_CURRENCY}{_SPACES}?)?(?P<second>{_SIGN})"
    after = rf"(?:{_SPACES}?(?:%|{_CURRENCY}))?"
    return re.compile(rf"{before}(?P<whole>{grouped}|\d+|(?=[.,]\d)){fraction}{after}")


_PATTERNS: dict[DecimalMark, re.Pattern[str]] = {".": _pattern("."), ",": _pattern(",")}


@dataclass(frozen=True)
class Notation:
    """How the numbers of a column of texts are written."""

    decimal: DecimalMark
    example: str | None
    """A number that is not written as computers write it; None if there is none."""
    others: tuple[str, ...]
    """The texts that are no numbers, which count as missing."""


def notation(column: pd.Series) -> Notation | None:
    """Return how the numbers of a column of texts are written; None if it holds other texts, or no texts.

    Marks of missing values aside, almost all cells must be numbers with the same decimal mark. Where both marks fit,
    such as for 1,234, a comma separates thousands.
    """
    known_type = pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column)
    if known_type or isinstance(column.dtype, pd.CategoricalDtype):
        return None
    known = column.dropna()
    if _best(known.head(INSPECTED_CELLS), 1 / 2) is None:  # most columns of texts are rejected here
        return None
    return _best(known, ALMOST_ALL)


def _best(cells: pd.Series, share: float) -> Notation | None:
    """Return the notation in which the most cells are numbers, if these are at least a share of the known ones."""
    counts = cells.value_counts()
    marks = np.array([is_missing(value) for value in counts.index], bool)
    known = counts[~marks]
    if any(isinstance(value, str) and _CODE.fullmatch(value.strip()) for value in known.index):
        return None
    best: Notation | None = None
    bools = np.array([isinstance(value, bool) for value in known.index], bool)
    for decimal in _PATTERNS:
        read = np.isfinite(_read_all(known.index.to_numpy(object), decimal)) & ~bools
        found = float(known[read].sum()) / max(known.sum(), 1)
        if found >= share and (best is None or found > share):
            others = tuple(str(value) for value in (*known.index[~read], *counts.index[marks]))
            example = next((value for value in known.index[read] if not _is_plain(value)), None)
            best, share = Notation(decimal, example, others), found
        if found == 1:
            break
    return best


def is_missing(value: object) -> bool:
    """Return whether a cell is a usual mark of a missing value."""
    return isinstance(value, str) and value.strip().lower() in MISSING


def read_number(value: object, decimal: DecimalMark) -> float:
    """Return the number that a cell holds; NaN if it is none."""
    if not isinstance(value, str):
        return float(value) if isinstance(value, Real | Decimal) else nan
    text = value.strip()
    negative = text.startswith("(") and text.endswith(")")  # as accountants write it
    match = _PATTERNS[decimal].fullmatch(text[1:-1] if negative else text)
    if match is None or (match["sign"] and match["second"]):
        return nan
    digits = re.sub(r"\D", "", match["whole"]) or "0"
    fraction = (match["fraction"] or "").replace(",", ".")
    size = float(f"{digits}{fraction}{match['exponent'] or ''}")
    return -size if negative or (match["sign"] or match["second"]) in ("-", "\u2212") else size


def read_numbers(column: pd.Series, decimal: DecimalMark) -> np.ndarray:
    """Read (N,) float64 numbers from texts; what is no number becomes NaN."""
    codes, found = pd.factorize(column)
    values = np.append(_read_all(np.asarray(found, object), decimal), nan)  # missing cells have code -1
    return values[codes]


def _read_all(values: np.ndarray, decimal: DecimalMark) -> np.ndarray:
    """Read different values (N,) as float64; only those that pandas cannot read are looked at one by one."""
    plain = values
    if decimal == ",":
        swapped = str.maketrans(",.", ".,")
        plain = np.array([each.translate(swapped) if isinstance(each, str) else each for each in values], object)
    numbers = pd.to_numeric(pd.Series(plain, dtype=object), errors="coerce").to_numpy(
        np.float64, na_value=nan, copy=True
    )
    rest = np.isnan(numbers)
    numbers[rest] = [read_number(value, decimal) for value in values[rest]]
    return numbers


def _is_plain(value: object) -> bool:
    if not isinstance(value, str):
        return True
    try:
        float(value)
    except ValueError:
        return False
    return True
