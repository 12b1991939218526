import pytest

from stoker.job.section import is_time, parse_interval, parse_span, span_epochs, span_steps, time_seconds


@pytest.mark.parametrize(
    ("written", "read"),
    [(1, "1 epoch"), (2, "2 epochs"), (0.5, "0.5 epochs"), ("1 steps", "1 step"), ("2 step", "2 steps"), ("5 %", "5%")],
)
def test_a_training_duration_has_one_normal_form(written: object, read: str):
    assert parse_span(written) == read
    assert parse_span(read) == read
    assert parse_interval(written) == read


@pytest.mark.parametrize("written", ["0 epochs", 0, "0%", "0 min", "-1 steps", "often", True, None, ["1 epoch"]])
def test_an_interval_is_above_zero(written: object):
    with pytest.raises(ValueError, match="above 0"):
        parse_interval(written)


def test_a_time_differs_from_a_training_duration():
    assert is_time(parse_interval("10min"))
    assert time_seconds(parse_interval("10min")) == 600
    assert not any(is_time(parse_interval(span)) for span in (1, "5%", "500 steps", "2 epochs"))


def test_whole_epochs_differ_from_other_durations():
    spans = ("1 epoch", "3 epochs", "0.5 epochs", "500 steps", "5%")
    assert [span_epochs(span) for span in spans] == [1, 3, None, None, None]
    assert [span_steps(span, 1000, 40) for span in spans] == [40, 120, 20, 500, 50]
