"""The progress of a sweep: a live table on a terminal, a line for each trial that ends elsewhere."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from stoker.cli.views.formatting import duration_text, number_text, shortened
from stoker.cli.views.sweep import (
    Sweep,
    best_text,
    cause_text,
    counts_text,
    goals_text,
    total_text,
    values_text,
)
from stoker.cli.views.tables import state_text, styled
from stoker.cli.views.trials_table import trials_table
from stoker.tracking.ledger import LedgerReader
from stoker.tracking.run import RunRecord, State
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.trials import Trial, read_facts

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table

DRAW_EVERY_S = 0.5
LINES_EVERY_S = 1.0
MAX_LINES = 4
"""At most this many trials get a line at a time."""
SUMMARY_EVERY_S = 60.0
"""Interval of summary lines while no trial ends."""
RANKED = (State.SUCCEEDED, State.PRUNED)
MAX_BEST = 10
OTHER_LINES = 7
"""Lines of the screen without a trial."""
CAUSE_WIDTH = 60


def show_table(records: Iterator[RunRecord], folder: RunFolder) -> RunRecord:
    """Show a live table until the sweep has ended, and return the last record."""
    from rich.console import Console
    from rich.live import Live

    console, drawn_at = Console(), 0.0
    reader = LedgerReader(folder.ledger)
    with Live(console=console, auto_refresh=False, transient=True, vertical_overflow="crop") as live:
        for record in records:
            if time.monotonic() - drawn_at >= DRAW_EVERY_S:
                sweep, left_s = _sweep(record, folder, reader), folder.progress().seconds_left
                live.update(live_view(sweep, left_s, console.height, console.width), refresh=True)
                drawn_at = time.monotonic()
    return record


def print_lines(records: Iterator[RunRecord], folder: RunFolder) -> RunRecord:
    """Print a line for each trial that ends until the sweep has ended, and return the last record."""
    reader, lines = LedgerReader(folder.ledger), SweepLines()
    for record in records:
        for line in lines.due(_sweep(record, folder, reader), time.monotonic(), record.state.ended):
            click.echo(line)
    return record


class SweepLines:
    """Chooses the lines to print: one for each trial that has ended since the first call, a few a second at most."""

    def __init__(self) -> None:
        self._printed: set[int] | None = None
        self._printed_at = 0.0

    def due(self, sweep: Sweep, time_s: float, last: bool) -> list[str]:
        """Return the lines that are due now; the last call returns all that are left."""
        ended = sorted((trial for trial in sweep.trials if trial.state.final), key=lambda trial: trial.ended)
        numbers = {trial.number for trial in ended}
        if self._printed is None:
            self._printed, self._printed_at = numbers, time_s - LINES_EVERY_S
            return [self._summary(sweep)] if ended and not last else []
        self._printed &= numbers  # a trial that was continued ends once more
        new = [trial for trial in ended if trial.number not in self._printed]
        interval_s = LINES_EVERY_S if new else SUMMARY_EVERY_S
        if (last and not new) or (not last and time_s - self._printed_at < interval_s):
            return []
        self._printed, self._printed_at = numbers, time_s
        if not new:
            return [self._summary(sweep)]
        *first, final = new[-MAX_LINES:]
        others = len(new) - MAX_LINES
        more = [f"{others} other trial{'s' * (others > 1)} ended"] if others > 0 else []
        tail = ", ".join(filter(None, (total_text(sweep), _best_so_far(sweep))))
        return [*more, *(end_text(sweep, trial) for trial in first), f"{end_text(sweep, final)}   {tail}"]

    @staticmethod
    def _summary(sweep: Sweep) -> str:
        return ", ".join(filter(None, (counts_text(sweep), _best_so_far(sweep))))


def end_text(sweep: Sweep, trial: Trial) -> str:
    """Return in one line how a trial ended."""
    state = f"{state_text(trial.state)}{f' at epoch {trial.epoch}' if trial.epoch else ''}"
    parts = (
        f"trial {trial.number}",
        state,
        goals_text(sweep, trial) if trial.state is not State.FAILED else shortened(cause_text(trial), CAUSE_WIDTH),
        values_text(trial.values, sweep.names),
    )
    return "  ".join(filter(None, parts))


def live_view(sweep: Sweep, left_s: float, height: int, width: int) -> "Group":
    """Return the view for a terminal: progress, the running trials, and the best ones."""
    from rich.console import Group
    from rich.text import Text

    free = max(2, height - OTHER_LINES)
    running = [trial for trial in sweep.trials if not trial.state.final]
    others = [trial for trial in sweep.sorted(sweep.facts.metric) if trial.state in RANKED][:MAX_BEST]
    shown = running[: max(1, free - min(len(others), free // 2))]
    best = others[: max(0, free - len(shown))]
    head, *rows = trials_table(sweep, [*shown, *best], [*sweep.facts.goals], width).splitlines()
    hidden = len(running) - len(shown)
    more = [f"... and {hidden} more running"] if hidden else []
    gap = [""] if shown and best else []
    lines = [head, *rows[: len(shown)], *more, *gap, *rows[len(shown) :]]
    top = [f"best: {best_text(sweep)}"] if sweep.best else []
    table = [Text.from_ansi(line, no_wrap=True, overflow="ellipsis") for line in (*top, "", *lines)]
    return Group(_header(sweep, left_s), *table)


def _header(sweep: Sweep, left_s: float) -> "Table":
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    line = Table.grid(padding=(0, 2))
    parts: list[RenderableType] = [Text(f"{total_text(sweep)} trials", style="bold", no_wrap=True)]
    if total := sweep.facts.trials:
        parts.append(ProgressBar(total=total, completed=sweep.ended, width=12))
    counts = ", ".join(f"{number} {state.lower()}" for state, number in sweep.counts().items())
    parts.append(Text(counts or sweep.record.status.phase, no_wrap=True, overflow="ellipsis"))
    if left_s:
        parts.append(Text(f"{duration_text(left_s)} left", no_wrap=True))
    line.add_row(*parts)
    return line


def _sweep(record: RunRecord, folder: RunFolder, reader: LedgerReader) -> Sweep:
    facts = read_facts(folder)
    assert facts is not None
    return Sweep(record, facts, reader.read())


def _best_so_far(sweep: Sweep) -> str:
    best = sweep.best
    value = sweep.value(best, sweep.facts.metric) if best else None
    return f"best {styled(number_text(value), bold=True)} (trial {best.number})" if best and value is not None else ""
