"""Staying with a sweep: a live table on a terminal, a line for each trial that ends elsewhere."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from stoker.cli.sweeps import (
    Sweep,
    best_text,
    cause_text,
    counts_text,
    goals_text,
    total_text,
    values_text,
)
from stoker.cli.tables import state_text, styled
from stoker.cli.trials_table import trials_table
from stoker.cli.words import duration_text, number_text, shortened
from stoker.tracking.ledger import LedgerReader
from stoker.tracking.run import RunRecord, State
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.trials import Trial, read_facts

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table

DRAW_EVERY_S = 0.5
LINES_EVERY_S = 1.0
LINES = 4
"""So many trials get a line of their own at a time."""
QUIET_S = 60.0
"""After so long a line says that the sweep goes on."""
COMPARED = (State.SUCCEEDED, State.PRUNED)
BEST = 10
AROUND = 7
"""Lines of the screen that hold no trial."""
CAUSE_WIDTH = 60


def draw(records: Iterator[RunRecord], folder: RunFolder) -> RunRecord:
    """Show a table that lives until nobody works on the sweep any more."""
    from rich.console import Console
    from rich.live import Live

    console, drawn_at = Console(), 0.0
    reader = LedgerReader(folder.ledger)
    with Live(console=console, auto_refresh=False, transient=True, vertical_overflow="crop") as live:
        for record in records:
            if time.monotonic() - drawn_at >= DRAW_EVERY_S:
                sweep, left_s = _sweep(record, folder, reader), folder.progress().seconds_left
                live.update(view(sweep, left_s, console.height, console.width), refresh=True)
                drawn_at = time.monotonic()
    return record


def tell(records: Iterator[RunRecord], folder: RunFolder) -> RunRecord:
    """Print a line for each trial that ends, until nobody works on the sweep any more."""
    reader, teller = LedgerReader(folder.ledger), Teller()
    for record in records:
        for line in teller.lines(_sweep(record, folder, reader), time.monotonic(), record.state.ended):
            click.echo(line)
    return record


class Teller:
    """Chooses what to say of a sweep: each trial that ends since the first look, a few lines a second at most."""

    def __init__(self) -> None:
        self._told: set[int] | None = None
        self._told_at = 0.0

    def lines(self, sweep: Sweep, time_s: float, last: bool) -> list[str]:
        """Say what is new by now; all of it at the last look."""
        ended = sorted((trial for trial in sweep.trials if trial.state.final), key=lambda trial: trial.ended)
        numbers = {trial.number for trial in ended}
        if self._told is None:
            self._told, self._told_at = numbers, time_s - LINES_EVERY_S
            return [self._standing(sweep)] if ended and not last else []
        self._told &= numbers  # a trial that was let go on ends once more
        new = [trial for trial in ended if trial.number not in self._told]
        patience_s = LINES_EVERY_S if new else QUIET_S
        if (last and not new) or (not last and time_s - self._told_at < patience_s):
            return []
        self._told, self._told_at = numbers, time_s
        if not new:
            return [self._standing(sweep)]
        *first, final = new[-LINES:]
        others = len(new) - LINES
        more = [f"{others} other trial{'s' * (others > 1)} ended"] if others > 0 else []
        tail = ", ".join(filter(None, (total_text(sweep), _best_so_far(sweep))))
        return [*more, *(end_text(sweep, trial) for trial in first), f"{end_text(sweep, final)}   {tail}"]

    @staticmethod
    def _standing(sweep: Sweep) -> str:
        return ", ".join(filter(None, (counts_text(sweep), _best_so_far(sweep))))


def end_text(sweep: Sweep, trial: Trial) -> str:
    """Write in one line how a trial ended."""
    state = f"{state_text(trial.state)}{f' at epoch {trial.epoch}' if trial.epoch else ''}"
    parts = (
        f"trial {trial.number}",
        state,
        goals_text(sweep, trial) if trial.state is not State.FAILED else shortened(cause_text(trial), CAUSE_WIDTH),
        values_text(trial.values, sweep.names),
    )
    return "  ".join(filter(None, parts))


def view(sweep: Sweep, left_s: float, height: int, width: int) -> "Group":
    """Lay out a sweep for a terminal: how far it is, the trials that train, and the best ones."""
    from rich.console import Group
    from rich.text import Text

    room = max(2, height - AROUND)
    running = [trial for trial in sweep.trials if not trial.state.final]
    others = [trial for trial in sweep.sorted(sweep.facts.metric) if trial.state in COMPARED][:BEST]
    shown = running[: max(1, room - min(len(others), room // 2))]
    best = others[: max(0, room - len(shown))]
    head, *rows = trials_table(sweep, [*shown, *best], [*sweep.facts.goals], width).splitlines()
    hidden = len(running) - len(shown)
    more = [f"... and {hidden} more that train"] if hidden else []
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
