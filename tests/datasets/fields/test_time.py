import numpy as np
import pandas as pd
import pytest

from stoker.datasets.columns import Dense
from stoker.datasets.fields.time import TimeField
from stoker.errors import JobError
from stoker.job.dataset import Dataset

SETTINGS = Dataset(source="times.csv")


def fit(values: object) -> TimeField:
    return TimeField.fit("t", pd.Series(values), SETTINGS)  # type: ignore[call-overload]


def encoded(field: TimeField, values: object) -> np.ndarray:
    column = field.encode(pd.Series(values))  # type: ignore[call-overload]
    assert isinstance(column, Dense)
    return column.values.numpy()


HOURS = pd.Series(pd.date_range("2022-11-30 05:00", periods=900, freq="13h"))


def test_year_month_weekday_hour_and_time_since_the_first_are_learnt_from():
    field = fit(HOURS)
    assert field.features == ("year", "month", "weekday", "hour", "elapsed")
    values = encoded(field, HOURS)
    assert values.shape == (900, field.width)
    year, sine, cosine = values[:, 0], values[:, 1], values[:, 2]
    assert len(np.unique(year)) == 3
    months = np.round(np.arctan2(sine, cosine) / (2 * np.pi) * 12).astype(int) % 12 + 1
    assert (months == HOURS.dt.month).all()
    assert (values[:, 3:10].argmax(1) == HOURS.dt.day_of_week).all()
    hours = np.round(np.arctan2(values[:, 10], values[:, 11]) / (2 * np.pi) * 24).astype(int) % 24
    assert (hours == HOURS.dt.hour).all()
    assert (np.diff(values[:, 12]) > 0).all()


def test_what_does_not_vary_is_left_out():
    days = pd.Series(pd.date_range("2024-05-01", periods=20))
    assert fit(days).features == ("weekday", "elapsed")
    assert fit(days.iloc[:1]).features == ()


@pytest.mark.parametrize(
    "written",
    [
        HOURS,
        HOURS.dt.tz_localize("UTC"),
        HOURS.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"),
        HOURS.astype("timestamp[us][pyarrow]"),
        HOURS.astype(str),
        HOURS.dt.strftime("%d.%m.%Y %H:%M"),
        HOURS.dt.strftime("%m/%d/%Y %H:%M"),
        HOURS.dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        HOURS.dt.strftime("%d %b %Y %H:%M"),
    ],
)
def test_a_time_has_the_same_features_however_it_is_written(written: pd.Series):
    assert np.array_equal(encoded(fit(written), written), encoded(fit(HOURS), HOURS))


def test_a_missing_time_is_flagged():
    field = fit(["2024-01-01", None, "2024-03-05", "?"])
    values = encoded(field, ["2024-01-01", None, "soon"])
    assert values[:, -1].tolist() == [0, 1, 1]
    assert (values[1:, :-1] == 0).all()
    assert encoded(fit([None, None]), ["2024-01-01", None]).tolist() == [[0], [1]]


def test_a_later_time_stays_finite_and_in_bounds():
    values = encoded(fit(HOURS), ["2400-01-01", "1600-01-01"])
    assert np.isfinite(values).all()
    assert np.abs(values).max() <= 8


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (HOURS, "column 't' holds times: learnt from as year, month, weekday, hour, time since the first"),
        (["31.01.2024", "1.2.2024"], "column 't' holds times written as %d.%m.%Y: learnt from as"),
    ],
)
def test_the_note_names_format_and_features(values: object, note: str):
    column = pd.Series(values)  # type: ignore[call-overload]
    (found,) = fit(column).notes(column, np.array(["train"] * len(column)))
    assert found.startswith(note)


def test_times_written_in_another_way_than_those_learnt_from_are_refused():
    field = TimeField.fit("when", pd.Series(["31.05.2026", "01.06.2026", "13.02.2027"]), SETTINGS)
    for written in (["05/31/2026"], [1780185600000.0], ["2026-05-31"]):
        with pytest.raises(JobError, match=r"column 'when', row 1: .* and others are not times written as %d\.%m\.%Y"):
            field.encode(pd.Series(written))
    assert np.isfinite(encoded(field, ["soon", None])).all()
