"""`ls` and `status`: what runs there are, and how one stands."""

from contextlib import suppress

import click

from stoker.cli.links import run_page
from stoker.cli.outcome import next_commands
from stoker.cli.reports import (
    cause_row,
    checkpoint_text,
    duration_s,
    main_metric,
    metric_table,
    metrics_of,
    model_text,
    run_json,
    trial_of,
)
from stoker.cli.session import Session, cluster_option, examples, format_option, run_argument, session_object
from stoker.cli.sweeps import (
    Sweep,
    best_text,
    counts_text,
    failure_lines,
    goals_text,
    read_sweep,
    require_sweep,
    total_text,
    values_text,
)
from stoker.cli.tables import fields_text, print_json, state_text, table_text
from stoker.cli.words import age_text, duration_text
from stoker.errors import ClusterError, NotFound
from stoker.settings import Settings
from stoker.tracking.run import Progress, RunRecord, RunStatus, State, now
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.run_lookup import list_runs

NEWEST = 20
HEAD = ("run", "state", "task", "family", "age", "duration", "attempts", "metric")
NUMBERS = ("age", "duration", "attempts")


@click.command(
    epilog=examples(
        "stoker ls                    the 20 newest runs",
        "stoker ls -n 3               the 3 newest",
        "stoker ls --all -o json      everything, for another program",
        "stoker ls --everyone --cluster prod    whatever is on a cluster, whoever submitted it",
    )
)
@click.option("-n", "--newest", type=click.IntRange(min=1), default=NEWEST, show_default=True, help="How many.")
@click.option("-a", "--all", "everything", is_flag=True, help="Show all of them.")
@click.option("--everyone", is_flag=True, help="Show what a cluster has, whoever submitted it.")
@cluster_option
@format_option
@session_object
def ls(session: Session, newest: int, everything: bool, everyone: bool, form: str) -> None:
    """List the runs, newest first.

    They are those of this home, or with --everyone those that a cluster still has.
    """
    settings = session.settings
    if everyone:
        _list_cluster(session, None if everything else newest, form)
        return
    found = list_runs(settings.home)
    shown = found if everything else found[:newest]
    if form == "json":
        print_json([run_json(folder, _record(session, folder), settings) for folder in shown])
    elif not found:
        click.echo(f"no runs in {settings.home} yet; `stoker submit JOB.yaml` starts one")
    else:
        click.echo(_table([(folder, _record(session, folder)) for folder in shown]))
        if len(shown) < len(found):
            click.echo(f"... and {len(found) - len(shown)} older; `stoker ls --all` shows them")


@click.command(
    epilog=examples(
        "stoker status @last                the newest run",
        "stoker status digits               the newest run of the job named digits",
        "stoker status digits-1a2b -o json  a run by the start of its id, for another program",
    )
)
@run_argument
@cluster_option
@format_option
@session_object
def status(session: Session, run: str, form: str) -> None:
    """Show all that is known of a run."""
    folder = session.find(run)
    record = session.place_of(folder).refresh(folder)
    if form == "json":
        print_json(run_json(folder, record, session.settings))
    else:
        click.echo(status_text(folder, record, session.settings))


def _list_cluster(session: Session, newest: int | None, form: str) -> None:
    if not session.remote:
        raise click.UsageError("--everyone needs a cluster: name one with --cluster")
    place = session.kubernetes(session.settings.cluster, "its dashboard lists its jobs")
    records = place.runs()[:newest]
    if form == "json":
        print_json([run_json(RunFolder(record.folder), record, session.settings) for record in records])
    elif not records:
        click.echo(f"cluster '{place.name}' has no runs")
    else:
        click.echo(_table([(RunFolder(record.folder), record) for record in records]))


def status_text(folder: RunFolder, record: RunRecord, settings: Settings) -> str:
    """Lay out what is known of a run."""
    header, progress, seconds = record.header, folder.progress(), duration_s(record)
    row = cause_row(record)
    metrics, sweep = metrics_of(record, progress), read_sweep(record)
    if sweep and sweep.best and not metrics:
        metrics = sweep.best.metrics or sweep.best.last
    fields = [
        ("run", header.id),
        ("state", state_text(record.state)),
        *_trial_fields(folder),
        *_sweep_fields(sweep),
        ("busy with", "" if record.state.ended else phase_text(record, progress)),
        ("cause", record.status.cause),
        ("message", record.status.message),
        ("cure", row.cure if row and row.cure not in record.status.message else ""),
        ("task", header.task),
        ("family", header.family),
        ("dataset", header.dataset),
        ("cluster", header.cluster),
        ("age", age_text(now() - header.created)),
        ("duration", duration_text(seconds) if seconds is not None else ""),
        ("attempts", str(record.status.attempt or "")),
        ("progress", _sweep_progress(progress) if sweep else progress_text(progress)),
        ("checkpoint", checkpoint_text(record.status)),
        ("extends", header.extends),
        ("key", header.key),
        ("page", run_page(record, settings)),
        ("model", model_text(folder, record)),
        ("storage", header.storage),
        ("folder", str(folder.path)),
    ]
    if record.state.ended:
        fields += [("next", command) for command, _ in next_commands(record, settings)[:1]]
    return fields_text(fields) + (f"\n\n{metric_table(metrics)}" if metrics else "")


def _sweep_fields(sweep: Sweep | None) -> list[tuple[str, str]]:
    """Tell what a sweep looks for, how far its trials are and what has come of them."""
    if sweep is None:
        return []
    goals = ", ".join(f"{metric} ({direction})" for metric, direction in sweep.facts.goals.items())
    failures = [("failed" if number == 0 else " ", line) for number, line in enumerate(failure_lines(sweep))]
    return [
        ("looks for", goals),
        ("trials", counts_text(sweep).replace(" trials", "", 1)),
        ("best", best_text(sweep)),
        *failures,
    ]


def _sweep_progress(progress: Progress) -> str:
    return f"{duration_text(progress.seconds_left)} left" if progress.seconds_left else ""


def _trial_fields(folder: RunFolder) -> list[tuple[str, str]]:
    """Tell which trial of which sweep a run is, with which values, and how it compares."""
    trial = trial_of(folder)
    if trial is None or folder.sweep is None:
        return []
    sweep = require_sweep(folder.sweep)
    values = values_text(trial.values, sweep.names)
    place = [each.number for each in sweep.sorted(sweep.facts.metric)].index(trial.number) + 1
    reached = goals_text(sweep, trial)
    rank = f"{reached}, place {place} of {len(sweep.trials)}" if reached and trial.state is not State.FAILED else ""
    return [("trial of", f"{sweep.record.id}, number {trial.number}"), ("values", values), ("reached", rank)]


def phase_text(record: RunRecord, progress: Progress) -> str:
    """Say what the run is busy with: the driver's word before and after the worker's, else the worker's."""
    status = record.status
    if status.state is State.RETRYING:
        return f"retrying after {status.cause}" if status.cause else "retrying"
    worker_speaks = progress.phase != Progress.phase and status.phase in ("", RunStatus.phase)
    phase = progress.phase if worker_speaks else status.phase
    return f"attempt {status.attempt}: {phase}" if status.attempt > 1 else phase


def progress_text(progress: Progress) -> str:
    """Write how far training is; empty before its first step."""
    if not progress.step:
        return ""
    epochs = f"epoch {progress.epoch}/{progress.epochs}, " if progress.epochs else ""
    left = f", {duration_text(progress.seconds_left)} left" if progress.seconds_left else ""
    steps = f"/{progress.steps:,}" if progress.steps else ""  # a time alone ends training
    return f"{epochs}step {progress.step:,}{steps}{left}"


def _record(session: Session, folder: RunFolder) -> RunRecord:
    """Read a run's record; one on a cluster that does not answer is shown as it was known last."""
    record = folder.record()
    if record.header.cluster and not record.state.ended:
        with suppress(ClusterError, NotFound):
            return session.place_of(folder).refresh(folder)
    return record


def _table(shown: list[tuple[RunFolder, RunRecord]]) -> str:
    """Lay out runs; attempts are counted where one run needed several."""
    rows = [_row(folder, record) for folder, record in shown]
    if all(record.status.attempt < 2 for _, record in shown):
        place = HEAD.index("attempts")
        return table_text([*HEAD[:place], *HEAD[place + 1 :]], [[*r[:place], *r[place + 1 :]] for r in rows], NUMBERS)
    return table_text(HEAD, rows, NUMBERS)


def _row(folder: RunFolder, record: RunRecord) -> list[str]:
    header, seconds = record.header, duration_s(record)
    return [
        header.id,
        state_text(record.state),
        header.task,
        header.family,
        age_text(now() - header.created),
        duration_text(seconds) if seconds is not None else "",
        str(record.status.attempt or ""),
        _result(folder, record),
    ]


def _result(folder: RunFolder, record: RunRecord) -> str:
    sweep = read_sweep(record)
    if sweep is None:
        return main_metric(record.header.task, metrics_of(record, folder.progress()))
    best = goals_text(sweep, sweep.best) if sweep.best else ""
    return ", ".join(filter(None, (best, f"{total_text(sweep)} trials")))
