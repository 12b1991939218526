"""The parts of a run's report as text, and the whole report as JSON."""

from dataclasses import asdict
from typing import Any

from stoker.cli.mlflow_links import run_link
from stoker.cli.views.formatting import metric_text, number_text
from stoker.cli.views.sweep import read_sweep, sweep_json
from stoker.cli.views.tables import table_text
from stoker.errors import CAUSES, Cause, CauseRow
from stoker.job.task import TASKS
from stoker.settings import Settings, is_server, without_password
from stoker.tracking.ledger import read_trials
from stoker.tracking.run import Progress, RunRecord, RunStatus, State, now
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.trials import Trial, trial_id

PARTS = ("train", "val", "test")
LOG_LINES = 15
TAIL_BYTES = 65536


def exit_code(record: RunRecord) -> int:
    """Return the exit code for the end of a run: 0 if it succeeded or was paused or pruned, else its own code or 1."""
    return 0 if record.state in (State.SUCCEEDED, State.PRUNED, State.PAUSED) else record.status.exit_code or 1


def duration_s(record: RunRecord) -> float | None:
    """Return the seconds from the start to the end, or to now; None if the run has not started."""
    status = record.status
    if not status.started:
        return None
    if record.state is State.INTERRUPTED:
        return max(0.0, _last_write(record) - status.started)
    return max(0.0, (status.ended or now()) - status.started)


def metrics_of(record: RunRecord, progress: Progress) -> dict[str, float]:
    """Return the results of a run, or its latest metrics if it has none."""
    return record.status.metrics or progress.metrics


def main_metric(task: str, metrics: dict[str, float]) -> str:
    """Return the task's main metric with its name, of the test part if it has one, else of val or train."""
    row = next((row for name, row in TASKS.items() if name == task), None)
    for quantity in (row.best if row else "", "loss"):
        for part in reversed(PARTS):
            if (name := f"{quantity}/{part}") in metrics:
                return metric_text(name, metrics[name])
    return ""


def metric_table(metrics: dict[str, float]) -> str:
    """Return a table of metrics, a row for each quantity and a column for each part of the data."""
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
    """Return epoch and step of the newest checkpoint; empty without one."""
    if not status.checkpoint_step:
        return ""
    epoch = f"epoch {status.checkpoint_epoch}, " if status.checkpoint_epoch else ""
    return f"{epoch}step {status.checkpoint_step:,}"


def cause_row(record: RunRecord) -> CauseRow | None:
    """Return the table row of a failure's cause."""
    cause = Cause.__members__.get(record.status.cause)
    return CAUSES[cause] if cause else None


def log_tail(folder: RunFolder, lines: int = LOG_LINES) -> list[str]:
    """Return the last lines of a run's log."""
    if not folder.log.exists():
        return []
    with folder.log.open("rb") as file:
        file.seek(max(0, folder.log.stat().st_size - TAIL_BYTES))
        return file.read().decode("utf-8", errors="replace").splitlines()[-lines:] if lines else []


def trial_of(folder: RunFolder) -> Trial | None:
    """Return the entry of a trial in its sweep's ledger; None for any other run."""
    if folder.sweep is None:
        return None
    trials = read_trials(folder.sweep.ledger)
    return next((trial for trial in trials if trial_id(folder.sweep.path.name, trial.number) == folder.path.name), None)


def run_json(folder: RunFolder, record: RunRecord, settings: Settings) -> dict[str, Any]:
    """Return the JSON of a run."""
    row = cause_row(record)
    progress, uri = folder.progress(), record.header.tracking_uri
    sweep, trial = read_sweep(record), trial_of(folder)
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
        **(sweep_json(sweep) if sweep else {}),
        **({"trial_of": folder.sweep.path.name, "trial": trial.number} if folder.sweep and trial else {}),
        **({"values": trial.values} if trial else {}),
    }


def model_text(folder: RunFolder, record: RunRecord) -> str:
    """Return where the model of a run is, or that of a sweep's best trial; empty without one."""
    sweep = read_sweep(record)
    if sweep and sweep.best and not folder.model.exists():
        folder = folder.trial(sweep.best.number)
        record = folder.record() if folder.readable() else record
    place = str(folder.model) if folder.model.exists() else record.status.model_uri
    registered = f"  (registered as {sweep.facts.registered})" if sweep and sweep.facts.registered else ""
    return f"{place}{registered}" if place else ""


def _last_write(record: RunRecord) -> float:
    files = [record.folder / name for name in ("state.json", "progress.json", "log.txt")]
    return max((file.stat().st_mtime for file in files if file.exists()), default=record.status.started)
