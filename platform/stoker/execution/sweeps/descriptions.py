"""Descriptions of a sweep's MLflow run and of its child runs, in Markdown."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from stoker.execution.recording import last_report, results_description
from stoker.job.task import use_command
from stoker.tracking.parameters import short_names, to_parameters
from stoker.tracking.run import State
from stoker.tracking.trials import Trial, best_of, ranked, trial_id

BEST = 10
MAX_CELL = 40
WORDS = {
    State.SUCCEEDED: "succeeded",
    State.PRUNED: "stopped early",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
    State.RUNNING: "running",
}
"""In the order of the summary."""


def trial_description(trial: Trial, sweep_id: str, task: str, own_code: bool = False) -> str:
    """Describe how a trial of a task ended; empty while it runs."""
    if trial.cause or (trial.message and not trial.metrics):
        return ": ".join(filter(None, [trial.cause, trial.message]))
    if not trial.state.final:
        return ""
    if own_code:
        return last_report(trial.metrics)
    return results_description(trial.metrics, use_command(task, trial_id(sweep_id, trial.number)))


def sweep_description(trials: Sequence[Trial], metric: str, direction: str, sweep_id: str, view: str = "") -> str:
    """Describe the best trial and list the next ones.

    Args:
        trials: of the sweep.
        metric: by which they are ranked.
        direction: `max` or `min`.
        sweep_id: id of the sweep.
        view: link to the table of all trials, relative to the server's address.

    """
    order = [trial for trial in ranked(trials, metric, direction) if _comparable(trial, metric, direction)]
    if not order:
        return f"No trial has a value of {metric} yet; {_counted(trials)}" if trials else "No trial yet"
    best, plural = best_of(trials, metric, direction) or order[0], "s" if len(trials) > 1 else ""
    first = f"Best of {len(trials)} trial{plural}: {trial_id(sweep_id, best.number)} with {metric} "
    values = [f"`{path}: {value}`" for path, value in to_parameters(best.values).items()]
    link = [f"[All trials, the best first]({view.removeprefix('/')})", ""] if view else []
    words = [f"{first}{best.score(metric, direction):.4g}; {_counted(trials)}", "", " \u00b7 ".join(values), "", *link]
    return "\n".join([*words, *_table(order[:BEST], metric, direction)])


def _comparable(trial: Trial, metric: str, direction: str) -> bool:
    failed = trial.state in (State.FAILED, State.CANCELLED)
    return not failed and not math.isnan(trial.score(metric, direction))


def _counted(trials: Sequence[Trial]) -> str:
    """Count the trials by state."""
    counts = Counter(trial.state for trial in trials)
    return ", ".join(f"{counts[state]} {word}" for state, word in WORDS.items() if counts[state])


def _table(trials: Sequence[Trial], metric: str, direction: str) -> list[str]:
    """Format trials as table rows; parameter paths are shortened as far as they stay distinct."""
    rows = [to_parameters(trial.values) for trial in trials]
    paths = list(dict.fromkeys(path for row in rows for path in row))
    names = short_names(paths)
    heads = ["trial", metric, "epochs", *(names[path] for path in paths), "state"]
    lines = [_row(heads), "|" + "---|" * len(heads)]
    for trial, row in zip(trials, rows, strict=True):
        score = f"{trial.score(metric, direction):.4g}"
        cells = [trial.number, score, trial.epoch, *(row.get(path, "") for path in paths), WORDS.get(trial.state, "")]
        lines.append(_row(cells))
    return lines


def _row(cells: Sequence[object]) -> str:
    """Format a table row; MLflow renders tables without padding between cells."""
    return f"| {' | '.join(f'{_text(cell)}&emsp;' for cell in cells)} |"


def _text(cell: object) -> str:
    """Format a cell on one line, with Markdown escaped and numbers rounded."""
    text = str(cell)
    try:
        number = json.loads(text)
    except ValueError:
        number = None
    if isinstance(number, float):
        text = f"{number:.4g}"
    text = text.replace("|", "\\|").replace("\n", " ")
    return text if len(text) <= MAX_CELL else f"{text[: MAX_CELL - 1]}…"


def values_json(values: Mapping[str, Any]) -> str:
    """Serialize a trial's values for VALUES_TAG."""
    return json.dumps(dict(values))
