import numpy as np
import pandas as pd
import pytest

from stoker.datasets.values.times import read_times, time_format
from stoker.errors import JobError


@pytest.mark.parametrize(
    "values",
    [
        [3, 1.5, 2],
        ["20240103", "20240101", "20240102"],
        ["2024-03", "2024-02-28", "2024-02-29"],
        ["2024-01-01T12:00:00+02:00", "2024-01-01 09:59:00", "2024-01-01T09:59:30Z"],
        ["1950-01-01", "1500-12-31", "1949-12-31T23:59"],
        pd.to_datetime(["2024-01-03", "2024-01-01", "2024-01-02"]),
        [pd.Timestamp("2024-01-03").date(), pd.Timestamp("2024-01-01").date(), pd.Timestamp("2024-01-02").date()],
    ],
)
def test_numbers_and_dates_are_ordered_in_time(values: object):
    assert np.argsort(read_times(pd.Series(values), "date")).tolist() == [1, 2, 0]  # type: ignore[call-overload]


def test_equal_times_are_equal_however_they_are_written():
    times = read_times(pd.Series(["2024-01-01T02:00:00+02:00", "2024-01-01"]), "date")
    assert times[0] == times[1]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["2024-01-01", "soon"], "'soon' is not an ISO date such as 2026-05-31"),
        (["2024-01-01", "31.12.2023"], "'31.12.2023' is not an ISO date such as 2026-05-31"),
        (["5", "x", "y"], "'x' is not a number or an ISO date such as 2026-05-31"),
        (["2024-01-01", None], "there is no time"),
        ([1.0, float("nan")], "there is no time"),
        ([1.0, float("inf")], "'inf' is not a number or an ISO date such as 2026-05-31"),
        (pd.to_datetime(["2024-01-01", None]), "there is no time"),
    ],
)
def test_a_row_without_a_time_is_named(values: object, found: str):
    with pytest.raises(JobError) as caught:
        read_times(pd.Series(values), "date")  # type: ignore[call-overload]
    (problem,) = caught.value.problems
    assert problem.path == "dataset.split.time"
    assert problem.message == f"row 2, column 'date': {found}; correct it or remove the row"


@pytest.mark.timeout(60)
def test_a_text_of_a_million_words_is_soon_known_to_be_no_time():
    assert time_format(pd.Series(["the film " * 1_000_000])) is None
