"""A table of trials that fits the terminal: values and results, a row for each trial."""

from collections.abc import Sequence

from stoker.cli.views.formatting import duration_text, shortened
from stoker.cli.views.sweep import Sweep, cause_text, cells, seconds_of, values_text
from stoker.cli.views.tables import table_text, table_width
from stoker.tracking.trials import Trial

LAYOUTS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (40, ()),
    (24, ()),
    (16, ()),
    (16, ("duration",)),
    (12, ("duration", "epoch")),
)
"""Width of the values and columns to leave out, tried in this order until the table fits."""
CAUSE_WIDTH = 30
"""Minimum; shorter causes say too little."""


def trials_table(sweep: Sweep, shown: Sequence[Trial], metrics: Sequence[str], width: int | None) -> str:
    """Return the table; on a narrow terminal, the values share one column."""
    causes = [cause_text(trial) for trial in shown]
    right = ("trial", *metrics, "epoch", "duration")
    for limit, without in LAYOUTS:
        head, rows = _columns(sweep, shown, metrics, limit, without)
        if (free := _free_width(head, rows, width)) is None or free >= (CAUSE_WIDTH if any(causes) else -2):
            break
    else:
        head, rows = _columns(sweep, shown, metrics, 0, ("duration",))
        free = _free_width(head, rows, width)
        assert free is not None
        kept = max(CAUSE_WIDTH, free - CAUSE_WIDTH - 2) if any(causes) else max(1, free)
        values = [shortened(values_text(trial.values, sweep.names), kept) for trial in shown]
        head, rows = [*head, "values"], [[*row, text] for row, text in zip(rows, values, strict=True)]
        free = _free_width(head, rows, width)
    if any(causes):
        cut = causes if free is None else [shortened(cause, max(CAUSE_WIDTH, free)) for cause in causes]
        head, rows = [*head, "cause"], [[*row, cause] for row, cause in zip(rows, cut, strict=True)]
    return table_text(head, rows, right)


def _columns(
    sweep: Sweep, shown: Sequence[Trial], metrics: Sequence[str], limit: int, without: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    """Return head and rows; without the values if the limit is 0."""
    rows = []
    for trial in shown:
        name, values, numbers = cells(sweep, trial, metrics, limit)
        seconds = seconds_of(sweep, trial)
        ends = {"epoch": str(trial.epoch or ""), "duration": "" if seconds is None else duration_text(seconds)}
        kept = [text for column, text in ends.items() if column not in without]
        rows.append([*name, *(values if limit else []), *numbers, *kept])
    names = sweep.names.values() if limit else ()
    return ["trial", "state", *names, *metrics, *(c for c in ("epoch", "duration") if c not in without)], rows


def _free_width(head: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> int | None:
    """Return the width left for one more column; None if there is no limit."""
    return None if width is None else width - 2 - table_width(head, rows)
