"""Staying with a run: a live bar on a terminal, plain lines elsewhere, until it ends or the user lets go."""

import sys
import time
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

import click

from stoker.cli import sweep_watch
from stoker.cli.following import wait_for
from stoker.cli.outcome import show_outcome
from stoker.cli.reports import exit_code, run_json
from stoker.cli.runs import phase_text, progress_text
from stoker.cli.tables import print_json, styled
from stoker.cli.words import duration_text, metric_text
from stoker.clusters.cluster import Cluster
from stoker.clusters.polling import poll
from stoker.tracking.record import RunFolder
from stoker.tracking.run import Progress, RunRecord
from stoker.tracking.trials import read_facts

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

SHOWN_METRICS = 4
EPOCH_LINE_S = 1.0
"""Short epochs share a line."""
LINE_S = 10.0
"""Within a long epoch a line says that it goes on."""


def stay_with(cluster: Cluster, folder: RunFolder, detach: bool, form: str, greeting: str) -> int:
    """Show a run that was just started until it ends, and return its exit code; 0 as soon as the user lets go.

    Args:
        cluster: where it is.
        folder: of the run.
        detach: whether to let go at once.
        form: `json` shows the run at the end, and nothing else.
        greeting: what to say of it first.

    """
    if form == "json":
        return _stay_quietly(cluster, folder, detach)
    try:
        click.echo(greeting)
        if detach:
            click.echo(_detached(folder.record()))
            return 0
        record = attach(cluster, folder)
    except KeyboardInterrupt:
        click.echo(f"\n{_detached(folder.record())}")
        return 0
    show_outcome(folder, record, cluster.settings)
    return exit_code(record)


def attach(cluster: Cluster, folder: RunFolder) -> RunRecord:
    """Show a run until nobody works on it any more, and return its record."""
    records, on_terminal = poll(cluster, folder), sys.stdout.isatty()
    record = _draw(records, folder) if on_terminal else _tell(records, folder)
    if record.state.ended:
        return record
    rest = chain([record], records)  # it has turned out to be a sweep
    return sweep_watch.draw(rest, folder) if on_terminal else sweep_watch.tell(rest, folder)


def _stay_quietly(cluster: Cluster, folder: RunFolder, detach: bool) -> int:
    try:
        record = folder.record() if detach else wait_for(cluster, folder, None)
    except KeyboardInterrupt:
        detach, record = True, folder.record()
    print_json(run_json(folder, record, cluster.settings))
    return 0 if detach else exit_code(record)


def _detached(record: RunRecord) -> str:
    run = record.id
    if record.state.ended:
        return f"stoker status {run} | stoker logs {run}"
    commands = (f"stoker logs -f {run}", f"stoker status {run}", f"stoker pause {run}", f"stoker cancel {run}")
    return f"detached; the run goes on. {' | '.join(commands)}"


def _draw(records: Iterator[RunRecord], folder: RunFolder) -> RunRecord:
    """Show a bar until the run has ended, or is known as a sweep."""
    with _bar() as bar:
        task = bar.add_task("starting", total=None, place="", left="", metrics="")
        for record in records:
            if read_facts(folder):
                break
            progress = folder.progress()
            bar.update(
                task,
                description=phase_text(record, progress),
                completed=progress.step,
                total=progress.steps or None,
                place=f"epoch {progress.epoch}/{progress.epochs}" if progress.epochs else "",
                left=f"{duration_text(progress.seconds_left)} left" if progress.seconds_left else "",
                metrics=metrics_text(progress),
            )
    return record


def _bar() -> "Bar":
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[place]}", markup=False),
        TextColumn("{task.fields[left]}", markup=False),
        TextColumn("{task.fields[metrics]}", markup=False, style="dim"),
        transient=True,  # the outcome takes its place
    )


def _tell(records: Iterator[RunRecord], folder: RunFolder) -> RunRecord:
    """Print lines until the run has ended, or is known as a sweep."""
    told, told_phase, told_at, line = Progress(), "", 0.0, ""
    for record in records:
        if read_facts(folder):
            break
        progress, phase, time_s = folder.progress(), phase_text(record, folder.progress()), time.monotonic()
        patience_s = 0.0 if phase != told_phase else EPOCH_LINE_S if progress.epoch != told.epoch else LINE_S
        due = progress.step > told.step if record.state.ended else time_s - told_at >= patience_s
        if due and line != (line := line_text(record, progress)):
            click.echo(line)
            told, told_phase, told_at = progress, phase, time_s
    return record


def line_text(record: RunRecord, progress: Progress) -> str:
    """Write progress in one line."""
    parts = (styled(phase_text(record, progress), bold=True), progress_text(progress), metrics_text(progress))
    return "  ".join(filter(None, parts))


def metrics_text(progress: Progress) -> str:
    """Write the first few of the last metrics."""
    shown = list(progress.metrics.items())[:SHOWN_METRICS]
    return "  ".join(metric_text(name, value) for name, value in shown)
