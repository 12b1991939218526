"""A table of trials that fits the terminal: a row for each, with its values and what it reached."""

from collections.abc import Sequence

from stoker.cli.sweeps import Sweep, cause_text, cells, seconds_of, values_text
from stoker.cli.tables import table_text, table_width
from stoker.cli.words import duration_text, shortened
from stoker.tracking.trials import Trial

LAYOUTS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (40, ()),
    (24, ()),
    (16, ()),
    (16, ("duration",)),
    (12, ("duration", "epoch")),
)
"""Widths of the values and columns that are left out, tried one after the other until the terminal is wide enough."""
CAUSE_WIDTH = 30
"""A cause says little in less."""


def trials_table(sweep: Sweep, shown: Sequence[Trial], metrics: Sequence[str], width: int | None) -> str:
    """Lay out trials; where a terminal is too narrow for a column a value, the values share one."""
    causes = [cause_text(trial) for trial in shown]
    right = ("trial", *metrics, "epoch", "duration")
    for limit, without in LAYOUTS:
        head, rows = _columns(sweep, shown, metrics, limit, without)
        if (room := _room(head, rows, width)) is None or room >= (CAUSE_WIDTH if any(causes) else -2):
            break
    else:
        head, rows = _columns(sweep, shown, metrics, 0, ("duration",))
        room = _room(head, rows, width)
        assert room is not None
        kept = max(CAUSE_WIDTH, room - CAUSE_WIDTH - 2) if any(causes) else max(1, room)
        values = [shortened(values_text(trial.values, sweep.names), kept) for trial in shown]
        head, rows = [*head, "values"], [[*row, text] for row, text in zip(rows, values, strict=True)]
        room = _room(head, rows, width)
    if any(causes):
        cut = causes if room is None else [shortened(cause, max(CAUSE_WIDTH, room)) for cause in causes]
        head, rows = [*head, "cause"], [[*row, cause] for row, cause in zip(rows, cut, strict=True)]
    return table_text(head, rows, right)


def _columns(
    sweep: Sweep, shown: Sequence[Trial], metrics: Sequence[str], limit: int, without: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    """Write trials as columns; with a limit of 0 without their values."""
    rows = []
    for trial in shown:
        name, values, numbers = cells(sweep, trial, metrics, limit)
        seconds = seconds_of(sweep, trial)
        ends = {"epoch": str(trial.epoch or ""), "duration": "" if seconds is None else duration_text(seconds)}
        kept = [text for column, text in ends.items() if column not in without]
        rows.append([*name, *(values if limit else []), *numbers, *kept])
    names = sweep.names.values() if limit else ()
    return ["trial", "state", *names, *metrics, *(c for c in ("epoch", "duration") if c not in without)], rows


def _room(head: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> int | None:
    """Tell how wide one more column could be; None where nothing limits it."""
    return None if width is None else width - 2 - table_width(head, rows)
