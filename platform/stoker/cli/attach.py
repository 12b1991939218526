"""Staying attached to a run until it ends or the user detaches: what `submit`, `resume`, `extend` and `wait` share."""

import sys
import time
from itertools import chain

import click

from stoker.cli.views import progress, sweep_progress
from stoker.cli.views.formatting import duration_text
from stoker.cli.views.outcome import show_outcome
from stoker.cli.views.run_report import exit_code, run_json
from stoker.cli.views.tables import print_json
from stoker.clusters.cluster import Cluster
from stoker.clusters.polling import poll
from stoker.errors import WaitTimedOut
from stoker.tracking.run import RunRecord
from stoker.tracking.run_folder import RunFolder


def stay_attached(cluster: Cluster, folder: RunFolder, detach: bool, form: str, greeting: str) -> int:
    """Show a run that was just started until it ends, and return its exit code; 0 if the user detaches.

    Args:
        cluster: of the run.
        folder: of the run.
        detach: whether to return at once.
        form: `json` prints the run at the end, and nothing else.
        greeting: printed first.

    """
    if form == "json":
        return _stay_silently(cluster, folder, detach)
    try:
        click.echo(greeting)
        if detach:
            click.echo(_detached_text(folder.record()))
            return 0
        record = attach(cluster, folder)
    except KeyboardInterrupt:
        click.echo(f"\n{_detached_text(folder.record())}")
        return 0
    show_outcome(folder, record, cluster.settings)
    return exit_code(record)


def attach(cluster: Cluster, folder: RunFolder) -> RunRecord:
    """Show the progress of a run until it ends, and return its record."""
    records, on_terminal = poll(cluster, folder), sys.stdout.isatty()
    record = progress.show_bar(records, folder) if on_terminal else progress.print_lines(records, folder)
    if record.state.ended:
        return record
    rest = chain([record], records)  # it has turned out to be a sweep
    return sweep_progress.show_table(rest, folder) if on_terminal else sweep_progress.print_lines(rest, folder)


def wait_until_ended(cluster: Cluster, folder: RunFolder, timeout_s: float | None) -> RunRecord:
    """Return the record of a run as soon as it has ended.

    Raises:
        WaitTimedOut: it takes longer.

    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    for record in poll(cluster, folder):
        if record.state.ended:
            break
        if deadline is not None and time.monotonic() >= deadline:
            time_text = duration_text(timeout_s or 0)
            raise WaitTimedOut(f"{record.id} is still {record.state} after {time_text}; it continues")
    return record


def _stay_silently(cluster: Cluster, folder: RunFolder, detach: bool) -> int:
    try:
        record = folder.record() if detach else wait_until_ended(cluster, folder, None)
    except KeyboardInterrupt:
        detach, record = True, folder.record()
    print_json(run_json(folder, record, cluster.settings))
    return 0 if detach else exit_code(record)


def _detached_text(record: RunRecord) -> str:
    run = record.id
    if record.state.ended:
        return f"stoker status {run} | stoker logs {run}"
    commands = (f"stoker logs -f {run}", f"stoker status {run}", f"stoker pause {run}", f"stoker cancel {run}")
    return f"detached; the run continues. {' | '.join(commands)}"
