"""How a run reads, running or ended: its metrics, its outcome, what to do next, and the same as JSON."""

from dataclasses import asdict
from typing import Any

import click

from stoker.cli.links import run_link, run_page
from stoker.cli.tables import state_text, styled, table_text
from stoker.cli.words import duration_text, metric_text, number_text
from stoker.errors import CAUSES, Cause, CauseRow, Turn
from stoker.settings import Settings, is_server, without_password
from stoker.spec.task import TASKS
from stoker.tracking.record import RunFolder
from stoker.tracking.run import Progress, RunRecord, RunStatus, State, now

PARTS = ("train", "val", "test")
LOG_LINES = 15
TAIL_BYTES = 65536


def exit_code(record: RunRecord) -> int:
    """Translate the end of a run: 0 for a success or a rest that somebody wanted, else the run's own code or 1."""
    return 0 if record.state in (State.SUCCEEDED, State.PAUSED) else record.status.exit_code or 1


def duration_s(record: RunRecord) -> float | None:
    """Seconds from the start to the end, or to now; None for a run that has not started."""
    status = record.status
    if not status.started:
        return None
    if record.state is State.INTERRUPTED:
        return max(0.0, _last_sign_of_life(record) - status.started)
    return max(0.0, (status.ended or now()) - status.started)


def metrics_of(record: RunRecord, progress: Progress) -> dict[str, float]:
    """Pick the results of a run that ended well, else the last metrics on the way."""
    return record.status.metrics or progress.metrics


def main_metric(task: str, metrics: dict[str, float]) -> str:
    """Name and write the metric that the task goes by, of the most telling part that has one."""
    row = next((row for name, row in TASKS.items() if name == task), None)
    for quantity in (row.best if row else "", "loss"):
        for part in reversed(PARTS):
            if (name := f"{quantity}/{part}") in metrics:
                return metric_text(name, metrics[name])
    return ""


def metric_table(metrics: dict[str, float]) -> str:
    """Lay out metrics, one row a quantity and one column a part of the data."""
    rows: dict[str, dict[str, str]] = {}
    for name, value in metrics.items():
        quantity, _, part = name.rpartition("/")
        key, column = (quantity, part) if part in PARTS and quantity else (name, "")
        rows.setdefault(key, {})[column] = number_text(value)
    columns = [part for part in ("", *PARTS) if any(part in row for row in rows.values())]
    cells = [[key, *(row.get(column, "") for column in columns)] for key, row in rows.items()]
    heads = [column or "value" for column in columns]
    return table_text(["metric", *heads], cells, right=heads)


def checkpoint_text(status: RunStatus) -> str:
    """Say where the newest checkpoint stands; empty without one."""
    if not status.checkpoint_step:
        return ""
    epoch = f"epoch {status.checkpoint_epoch}, " if status.checkpoint_epoch else ""
    return f"{epoch}step {status.checkpoint_step:,}"


def cause_row(record: RunRecord) -> CauseRow | None:
    """Look up what follows from the cause of a failure."""
    cause = Cause.__members__.get(record.status.cause)
    return CAUSES[cause] if cause else None


def log_tail(folder: RunFolder, lines: int = LOG_LINES) -> list[str]:
    """Read the last lines of a run's log."""
    if not folder.log.exists():
        return []
    with folder.log.open("rb") as file:
        file.seek(max(0, folder.log.stat().st_size - TAIL_BYTES))
        return file.read().decode("utf-8", errors="replace").splitlines()[-lines:] if lines else []


def show_outcome(folder: RunFolder, record: RunRecord, settings: Settings) -> None:
    """Print how a run ended, and what can be typed now."""
    seconds = duration_s(record)
    time = f" after {duration_text(seconds)}" if seconds is not None else ""
    click.echo(f"{state_text(record.state)}  {record.id}{time}")
    if record.state is State.SUCCEEDED:
        _show_success(folder, record, settings)
    elif record.state in (State.FAILED, State.INTERRUPTED):
        _show_failure(folder, record)
    if record.state is not State.SUCCEEDED and (checkpoint := checkpoint_text(record.status)):
        click.echo(f"checkpoint: {checkpoint}")
    if commands := next_commands(record, settings):
        width = max(len(command) for command, _ in commands)
        click.echo("next:\n" + "\n".join(f"  {command.ljust(width)}  {meaning}" for command, meaning in commands))


def next_commands(record: RunRecord, settings: Settings) -> list[tuple[str, str]]:
    """List what can be typed after the end of a run, each with what it does."""
    run, state = record.id, record.state
    if state is State.SUCCEEDED:
        page = [(f"stoker ui {run}", "curves, figures and the model in MLflow")] if run_page(record, settings) else []
        return [
            *page,
            (f"stoker evaluate {run}", "measure it on the test part again"),
            (f"stoker predict {run} --input DATA", "use it on new data"),
            (f"stoker extend {run} --epochs N", "train it further"),
            (f"stoker logs {run}", "what the run printed"),
        ]
    row = cause_row(record)
    saved = record.status.checkpoint_step > 0
    goes_on = "go on from the checkpoint" if saved else "begin again"
    resume = [(f"stoker resume {run}", goes_on)]
    if state in (State.PAUSED, State.INTERRUPTED):
        return [*resume, (f"stoker cancel {run}", "end it for good")]
    if state is State.CANCELLED:
        return resume if saved else []
    return resume if saved or (row and row.turn is not Turn.AUTHOR) else []


def run_json(folder: RunFolder, record: RunRecord, settings: Settings) -> dict[str, Any]:
    """Describe a run for other programs."""
    row = cause_row(record)
    progress, uri = folder.progress(), record.header.tracking_uri
    return {
        **asdict(record.header),
        "tracking_uri": without_password(uri) if is_server(uri) else uri,
        **asdict(record.status),
        "metrics": metrics_of(record, progress),
        "duration_s": duration_s(record),
        "cure": row.cure if row else "",
        "turn": row.turn if row else "",
        "progress": asdict(progress),
        "url": run_link(record, settings),
        "model": str(folder.model) if folder.model.exists() else "",
        "folder": str(folder.path),
        "log": str(folder.log),
    }


def _show_success(folder: RunFolder, record: RunRecord, settings: Settings) -> None:
    if record.status.metrics:
        click.echo(f"\n{metric_table(record.status.metrics)}")
    click.echo()
    if folder.model.exists() or record.status.model_uri:
        click.echo(f"model: {folder.model if folder.model.exists() else record.status.model_uri}")
    if link := "" if record.header.cluster else run_link(record, settings):
        click.echo(f"page:  {link}")


def _show_failure(folder: RunFolder, record: RunRecord) -> None:
    row, status = cause_row(record), record.status
    click.echo(f"  {styled(status.cause, 'red')}{': ' if status.cause else ''}{status.message}")
    if row and row.cure not in status.message:
        click.echo(f"  cure: {row.cure}")
    if row and row.turn != row.cure:
        click.echo(f"  turn: {row.turn}")
    if lines := log_tail(folder):
        click.echo(f"last lines of the log (all of it: stoker logs {record.id}):")
        click.echo("\n".join(f"  | {line}" for line in lines))


def _last_sign_of_life(record: RunRecord) -> float:
    files = [record.folder / name for name in ("state.json", "progress.json", "log.txt")]
    return max((file.stat().st_mtime for file in files if file.exists()), default=record.status.started)
