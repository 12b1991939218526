"""The outcome of a run, and the commands to type next."""

import click

from stoker.cli.mlflow_links import run_link, run_page
from stoker.cli.views.formatting import duration_text, value_text
from stoker.cli.views.run_report import cause_row, checkpoint_text, duration_s, log_tail, metric_table, model_text
from stoker.cli.views.sweep import Sweep, cells, counts_text, failure_lines, goals_text, read_sweep
from stoker.cli.views.tables import fields_text, state_text, styled, table_text
from stoker.errors import Turn
from stoker.job.task import use_command
from stoker.settings import Settings
from stoker.tracking.overfitting import overfitting_note
from stoker.tracking.parameters import flatten
from stoker.tracking.run import RunRecord, State
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.trials import Trial, pareto_front, trial_id
from stoker.tracking.weaknesses import weakness_notes

MAX_FRONT = 10
VALUE_WIDTH = 24
ENDS = {"early stopping": ", by training.early_stopping", "time": ", when training.time had passed"}
"""What to say of the reason why training ended, where it is not its length."""


def show_outcome(folder: RunFolder, record: RunRecord, settings: Settings) -> None:
    """Print the outcome of a run and the next commands."""
    seconds = duration_s(record)
    time = f" after {duration_text(seconds)}" if seconds is not None else ""
    sweep = read_sweep(record)
    trials = f", {counts_text(sweep)}" if sweep else ""
    click.echo(f"{state_text(record.state)}  {record.id}{time}{trials}")
    if sweep:
        _show_best(sweep)
    if record.state is State.SUCCEEDED:
        _show_success(folder, record, settings)
    elif record.state in (State.FAILED, State.INTERRUPTED):
        _show_failure(folder, record)
    if sweep and (failures := failure_lines(sweep)):
        click.echo("failed:\n" + "\n".join(f"  {line}" for line in failures))
    if record.state is not State.SUCCEEDED and (checkpoint := checkpoint_text(record.status)):
        click.echo(f"checkpoint: {checkpoint}")
    if commands := next_commands(record, settings):
        width = max(len(command) for command, _ in commands)
        click.echo("next:\n" + "\n".join(f"  {command.ljust(width)}  {meaning}" for command, meaning in commands))


def next_commands(record: RunRecord, settings: Settings) -> list[tuple[str, str]]:
    """Return the commands that make sense after the end of a run, each with what it does."""
    run, state, folder = record.id, record.state, RunFolder(record.folder)
    shown = state is State.SUCCEEDED and run_page(record, settings)
    content = "what it has recorded in MLflow" if record.header.own_code else "curves, figures and the model in MLflow"
    page = [(f"stoker ui {run}", content)] if shown else []
    if sweep := read_sweep(record):
        return _next_of_sweep(sweep, page)
    if folder.sweep and state is not State.SUCCEEDED:
        return _next_of_trial(record, folder.sweep.path.name)
    if state is State.SUCCEEDED and record.header.own_code:
        return [*page, (f"stoker logs {run}", "what the run printed")]
    if state is State.SUCCEEDED:
        return [
            *page,
            (f"stoker evaluate {run}", "measure it on the test part again"),
            _use(record.header.task, run, "it"),
            (f"stoker extend {run} --epochs N", "train it further"),
            (f"stoker logs {run}", "what the run printed"),
        ]
    row = cause_row(record)
    saved = record.status.checkpoint_step > 0
    meaning = "continue from the checkpoint" if saved else "start again"
    resume = [(f"stoker resume {run}", meaning)]
    if state in (State.PAUSED, State.INTERRUPTED):
        return [*resume, (f"stoker cancel {run}", "end it for good")]
    if state is State.CANCELLED:
        return resume if saved else []
    return resume if saved or (row and row.turn is not Turn.AUTHOR) else []


def _use(task: str, run: str, model: str) -> tuple[str, str]:
    command = use_command(task, run)
    return command, f"use {model} on new data" if "predict" in command else f"make new samples with {model}"


def _next_of_sweep(sweep: Sweep, page: list[tuple[str, str]]) -> list[tuple[str, str]]:
    run, state, best = sweep.record.id, sweep.record.state, sweep.best
    trials = [(f"stoker trials {run}", "all trials, the best first")] if sweep.trials else []
    if state is not State.SUCCEEDED:
        resume = [(f"stoker resume {run}", "continue the trials that have not ended")]
        cancel = [(f"stoker cancel {run}", "end it for good")]
        return [*resume, *(cancel if state in (State.PAUSED, State.INTERRUPTED) else []), *trials]
    commands = [*trials, *page]
    if best:
        winner, own_code = trial_id(run, best.number), sweep.record.header.own_code
        if not own_code:
            commands.append(_use(sweep.record.header.task, winner, "the best model"))
        if best.state is State.SUCCEEDED and not own_code:
            commands.append((f"stoker extend {winner} --epochs N", "train the best trial further"))
        commands.append((f"stoker submit run:{winner}", "train it again as a run of its own"))
    more = [(f"stoker extend {run} --trials N", "try more points")] if sweep.facts.trials else []
    return [*commands, *more]


def _next_of_trial(record: RunRecord, sweep: str) -> list[tuple[str, str]]:
    trials = (f"stoker trials {sweep}", "all trials of its sweep, the best first")
    if record.state.final:
        return [(f"stoker submit run:{record.id}", "train it from the beginning as a run of its own"), trials]
    return [(f"stoker resume {sweep}", "continue its sweep"), trials]


def _show_best(sweep: Sweep) -> None:
    metric = f" by {sweep.facts.metric}" if len(sweep.facts.goals) > 1 else ""
    if best := sweep.best:
        title = styled(f"best{metric}: trial {best.number}", bold=True)
        epochs = f", {best.epoch} epochs" if best.epoch else ""
        ended = "" if best.state is State.SUCCEEDED else f", {sweep.state(best)}"
        values = [(path, value_text(value)) for path, value in flatten(best.values).items()]
        click.echo(f"\n{title}  {goals_text(sweep, best)}{epochs}{ended}")
        click.echo("\n".join(f"  {line}" for line in fields_text(values).splitlines()))
    if front := pareto_front(sweep.sorted(sweep.facts.metric), sweep.facts.goals):
        click.echo(f"\nPareto front: {len(front)} trials\n{_front_table(sweep, front[:MAX_FRONT])}")
    if sweep.record.state is not State.SUCCEEDED:
        click.echo()


def _show_success(folder: RunFolder, record: RunRecord, settings: Settings) -> None:
    if record.status.metrics:
        click.echo(f"\n{metric_table(record.status.metrics)}")
        metrics = record.status.metrics
        drift = overfitting_note(record.header.task, metrics)
        notes = [_end_note(folder, record), drift, *weakness_notes(metrics).values()]
        if any(notes):
            click.echo("\n" + "\n".join(f"- {note}" for note in notes if note))
    click.echo()
    if model := model_text(folder, record):
        click.echo(f"model: {model}")
    if link := "" if record.header.cluster else run_link(record, settings):
        click.echo(f"page:  {link}")


def _end_note(folder: RunFolder, record: RunRecord) -> str:
    """Return which epoch's weights the results belong to, and why training ended; empty if all epochs were best."""
    progress, facts = folder.progress(), record.status.facts
    best = int(facts.get("best_epoch", 0))
    ended = ENDS.get(facts.get("end", ""), "")
    if not best or not (ended or best < progress.epoch):
        return ""
    last = f"training ended after epoch {progress.epoch:,}{ended}"
    return f"{last}; these are the results of the best weights, those of epoch {best:,}"


def _show_failure(folder: RunFolder, record: RunRecord) -> None:
    row, status = cause_row(record), record.status
    click.echo(f"  {styled(status.cause, 'red')}{': ' if status.cause else ''}{status.message}")
    if row and row.cure not in status.message:
        click.echo(f"  cure: {row.cure}")
    if row and row.turn != row.cure:
        click.echo(f"  turn: {row.turn}")
    if lines := log_tail(folder):
        click.echo(f"last lines of the log (all: stoker logs {record.id}):")
        click.echo("\n".join(f"  | {line}" for line in lines))


def _front_table(sweep: Sweep, front: list[Trial]) -> str:
    metrics, names = [*sweep.facts.goals], [*sweep.names.values()]
    rows = []
    for trial in front:
        (number, _), values, numbers = cells(sweep, trial, metrics, VALUE_WIDTH)
        rows.append([number, *numbers, *values])
    text = table_text(["trial", *metrics, *names], rows, right=("trial", *metrics))
    return "\n".join(f"  {line}" for line in text.splitlines())
