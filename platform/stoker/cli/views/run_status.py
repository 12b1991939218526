"""Everything that is known about one run, as a table of fields."""

from stoker.cli.mlflow_links import run_page
from stoker.cli.views.formatting import age_text, duration_text
from stoker.cli.views.outcome import next_commands
from stoker.cli.views.progress import phase_text, progress_text
from stoker.cli.views.run_report import (
    cause_row,
    checkpoint_text,
    duration_s,
    metric_table,
    metrics_of,
    model_text,
    trial_of,
)
from stoker.cli.views.sweep import (
    Sweep,
    best_text,
    counts_text,
    failure_lines,
    goals_text,
    read_sweep,
    require_sweep,
    values_text,
)
from stoker.cli.views.tables import fields_text, labelled_once, state_text
from stoker.settings import Settings
from stoker.tracking.run import Progress, RunRecord, State, now
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.weaknesses import weakness_notes


def status_text(folder: RunFolder, record: RunRecord, settings: Settings) -> str:
    """Return the state and the results of a run."""
    header, progress, seconds = record.header, folder.progress(), duration_s(record)
    row = cause_row(record)
    results = record.status.metrics
    metrics, sweep = metrics_of(record, progress), read_sweep(record)
    if sweep and sweep.best and not metrics:
        metrics = sweep.best.metrics or sweep.best.last
    fields = [
        ("run", header.id),
        ("state", state_text(record.state)),
        *_trial_fields(folder),
        *_sweep_fields(sweep),
        ("phase", "" if record.state.ended else phase_text(record, progress)),
        ("cause", record.status.cause),
        ("message", record.status.message),
        ("cure", row.cure if row and row.cure not in record.status.message else ""),
        ("task", header.task),
        ("family", header.family),
        ("dataset", header.dataset),
        ("cluster", header.cluster),
        ("age", age_text(now() - header.created)),
        ("duration", duration_text(seconds) if seconds is not None else ""),
        ("workers", record.status.workers),
        *labelled_once("left out", record.status.left_out),
        *labelled_once("slow", [] if record.state.ended else record.status.slow),
        ("attempts", str(record.status.attempt or "")),
        *labelled_once("failures", record.status.failures),
        ("progress", _sweep_progress(progress) if sweep else progress_text(progress)),
        *labelled_once("notes", [*(weakness_notes(results) if results else progress.notes).values()]),
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
    """Return the goals of a sweep, the number of trials by state, the best one, and the failures."""
    if sweep is None:
        return []
    goals = ", ".join(f"{metric} ({direction})" for metric, direction in sweep.facts.goals.items())
    return [
        ("objective", goals),
        ("trials", counts_text(sweep).replace(" trials", "", 1)),
        ("best", best_text(sweep)),
        *labelled_once("failed", failure_lines(sweep)),
    ]


def _sweep_progress(progress: Progress) -> str:
    return f"{duration_text(progress.seconds_left)} left" if progress.seconds_left else ""


def _trial_fields(folder: RunFolder) -> list[tuple[str, str]]:
    """Return sweep, number, values, result and rank of a trial."""
    trial = trial_of(folder)
    if trial is None or folder.sweep is None:
        return []
    sweep = require_sweep(folder.sweep)
    values = values_text(trial.values, sweep.names)
    place = [each.number for each in sweep.sorted(sweep.facts.metric)].index(trial.number) + 1
    result = goals_text(sweep, trial)
    rank = f"{result}, place {place} of {len(sweep.trials)}" if result and trial.state is not State.FAILED else ""
    return [("trial of", f"{sweep.record.id}, number {trial.number}"), ("values", values), ("result", rank)]
