"""The progress of a run: a live bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from stoker.cli.views.formatting import duration_text, metric_text, shortened
from stoker.cli.views.tables import styled
from stoker.tracking.run import Progress, RunRecord, RunStatus, State
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.trials import read_facts

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

SHOWN_METRICS = 4
EPOCH_LINE_S = 1.0
"""Epochs shorter than this share a line."""
BAR_TEXT = 100
"""Most characters of the text before a bar."""
LINE_S = 10.0
"""Interval of lines within a long epoch."""


def show_bar(records: Iterator[RunRecord], folder: RunFolder) -> RunRecord:
    """Show a bar until the run has ended or turns out to be a sweep, and return the last record."""
    with _bar() as bar:
        task = bar.add_task("starting", total=None, place="", left="", metrics="")
        for record in records:
            if read_facts(folder):
                break
            progress = folder.progress()
            bar.update(
                task,
                description=shortened(activity_text(record, progress), BAR_TEXT),
                completed=progress.step,
                total=progress.steps or None,
                place=f"epoch {progress.epoch}/{progress.epochs}" if progress.epochs else "",
                left=f"{duration_text(progress.seconds_left)} left" if progress.seconds_left else "",
                metrics=metrics_text(progress),
            )
    return record


def print_lines(records: Iterator[RunRecord], folder: RunFolder) -> RunRecord:
    """Print lines until the run has ended or turns out to be a sweep, and return the last record."""
    printed, printed_phase, printed_at, line = Progress(), "", 0.0, ""
    for record in records:
        if read_facts(folder):
            break
        progress, phase, time_s = folder.progress(), activity_text(record, folder.progress()), time.monotonic()
        interval_s = 0.0 if phase != printed_phase else EPOCH_LINE_S if progress.epoch != printed.epoch else LINE_S
        due = progress.step > printed.step if record.state.ended else time_s - printed_at >= interval_s
        if due and line != (line := line_text(record, progress)):
            click.echo(line)
            printed, printed_phase, printed_at = progress, phase, time_s
    return record


def line_text(record: RunRecord, progress: Progress) -> str:
    """Return the progress of a run in one line."""
    parts = (styled(activity_text(record, progress), bold=True), progress_text(progress), metrics_text(progress))
    return "  ".join(filter(None, parts))


def activity_text(record: RunRecord, progress: Progress) -> str:
    """Return what the run is doing, and why it waits."""
    phase, status = phase_text(record, progress), record.status
    waits = status.message and status.state in (State.QUEUED, State.PROVISIONING, State.RETRYING)
    return f"{phase}: {status.message}" if waits else phase


def phase_text(record: RunRecord, progress: Progress) -> str:
    """Return what the run is doing: the worker's phase if it has one and the driver does not, else the driver's."""
    status = record.status
    if status.state is State.RETRYING:
        return f"retrying after {status.cause}" if status.cause else "retrying"
    from_worker = not status.phase or (status.phase == RunStatus.phase and progress.phase != Progress.phase)
    phase = progress.phase if from_worker else status.phase
    return f"attempt {status.attempt}: {phase}" if status.attempt > 1 else phase


def progress_text(progress: Progress) -> str:
    """Return epoch, step and time left; empty before the first step."""
    if not progress.step:
        return ""
    epochs = f"epoch {progress.epoch}/{progress.epochs}, " if progress.epochs else ""
    left = f", {duration_text(progress.seconds_left)} left" if progress.seconds_left else ""
    steps = f"/{progress.steps:,}" if progress.steps else ""  # unknown if only a time ends training
    return f"{epochs}step {progress.step:,}{steps}{left}"


def metrics_text(progress: Progress) -> str:
    """Return the first few of the latest metrics."""
    shown = list(progress.metrics.items())[:SHOWN_METRICS]
    return "  ".join(metric_text(name, value) for name, value in shown)


def _bar() -> "Bar":
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[place]}", markup=False),
        TextColumn("{task.fields[left]}", markup=False),
        TextColumn("{task.fields[metrics]}", markup=False, style="dim"),
        transient=True,  # the outcome replaces it
    )
