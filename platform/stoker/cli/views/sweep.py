"""A sweep as text and JSON: its trials, their states, the best one, and why some have failed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from stoker.cli.views.formatting import metric_text, number_text, shortened, value_text
from stoker.cli.views.tables import state_text, styled
from stoker.errors import NotFound
from stoker.job.task import TASKS
from stoker.tracking import parameters
from stoker.tracking.ledger import read_trials
from stoker.tracking.run import RunRecord, State, now
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.trials import (
    SweepFacts,
    Trial,
    best_trial,
    effective_state,
    is_sweep,
    ranked,
    read_facts,
    trial_id,
)

COUNTED = (
    State.RUNNING,
    State.QUEUED,
    State.PAUSED,
    State.INTERRUPTED,
    State.SUCCEEDED,
    State.PRUNED,
    State.FAILED,
    State.CANCELLED,
)
LISTED_TRIALS = 8
MESSAGE_WIDTH = 100


@dataclass(frozen=True)
class Sweep:
    """The state of a sweep."""

    record: RunRecord
    facts: SweepFacts
    trials: Sequence[Trial]

    @cached_property
    def best(self) -> Trial | None:
        """The best trial so far."""
        return best_trial(self.trials, self.facts)

    @property
    def ended(self) -> int:
        """Number of trials with a final state."""
        return sum(trial.state.final for trial in self.trials)

    @cached_property
    def names(self) -> dict[str, str]:
        """Column names of the varied settings, by path."""
        paths = dict.fromkeys(path for trial in self.trials for path in parameters.flatten(trial.values))
        return short_names([*paths])

    def state(self, trial: Trial) -> State:
        """Return the state of a trial, given that of the sweep; one that waits for its turn is QUEUED."""
        state = effective_state(trial, self.record.state)
        return State.QUEUED if state is State.RUNNING and trial.number in self._waiting else state

    @cached_property
    def _waiting(self) -> set[int]:
        """Numbers of the trials that are chosen ahead of their turn: without a report, and more than train at once."""
        begun = [trial for trial in self.trials if not trial.state.final]
        silent = [trial.number for trial in begun if not trial.reports]
        room = max(0, self.facts.parallel - (len(begun) - len(silent)))
        return set(silent[room:])

    def counts(self) -> dict[str, int]:
        """Return the number of trials in each state, in the order of COUNTED."""
        states = [self.state(trial) for trial in self.trials]
        return {str(state): states.count(state) for state in COUNTED if state in states}

    def value(self, trial: Trial, metric: str) -> float | None:
        """Return a trial's value of a metric: its best for a goal of the sweep, that of its best weights otherwise."""
        if direction := self.facts.goals.get(metric):
            score = trial.score(metric, direction)
            if math.isfinite(score):
                return score
        return trial.metrics.get(metric, trial.latest(metric))

    def direction(self, metric: str) -> str:
        """Return whether a metric is maximized or minimized; unknown ones are terms of a loss, which is minimized."""
        row = next((row for name, row in TASKS.items() if name == self.record.header.task), None)
        known = row.metrics.get(metric.partition("/")[0]) if row else None
        return self.facts.goals.get(metric) or known or "min"

    def sorted(self, metric: str) -> list[Trial]:
        """Return the trials by a metric, the best first; those without a value or a model come last."""
        if metric == self.facts.metric:
            return ranked(self.trials, metric, self.direction(metric))

        def key(trial: Trial) -> tuple[bool, float, int]:
            value = self.value(trial, metric)
            if value is None or not math.isfinite(value) or trial.state in (State.FAILED, State.CANCELLED):
                return True, 0.0, trial.number
            return False, -value if self.direction(metric) == "max" else value, trial.number

        return sorted(self.trials, key=key)

    def metrics(self) -> list[str]:
        """Return the names of all recorded metrics, the goals first."""
        recorded = [name for trial in self.trials for name in (*trial.last, *trial.metrics)]
        return [*dict.fromkeys([*self.facts.goals, *recorded])]


def read_sweep(record: RunRecord) -> Sweep | None:
    """Return the sweep of a run; None for any other run."""
    folder = RunFolder(record.folder)
    facts = read_facts(folder)
    return Sweep(record, facts, read_trials(folder.ledger)) if facts else None


def require_sweep(folder: RunFolder) -> Sweep:
    """Return the sweep of a run.

    Raises:
        NotFound: the run is not a sweep, or nothing is known about its trials yet.

    """
    sweep, run = read_sweep(folder.record()), folder.path.name
    if sweep is None:
        if not folder.sweep and is_sweep(folder):
            unrecorded = bool(folder.header().cluster) and not folder.header().experiment
            why = "with tracking: none only its driver knows them" if unrecorded else "none has started"
            raise NotFound(f"nothing is known about the trials of {run} yet: {why}")
        cure = (
            f"`stoker trials {folder.sweep.path.name}` shows all" if folder.sweep else f"`stoker status {run}` shows it"
        )
        raise NotFound(f"{run} is {'a trial' if folder.sweep else 'not a sweep and has no trials'}; {cure}")
    return sweep


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Return a column name for each path: its shortest unique suffix, without `.type`."""
    stems = {path: path.removesuffix(".type") for path in paths}
    suffixes = parameters.short_names([*stems.values()])
    return {path: path if list(stems.values()).count(stem) > 1 else suffixes[stem] for path, stem in stems.items()}


def values_text(values: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Return the values of a trial in one line."""
    return " ".join(
        f"{names.get(path, path)}={value_text(value)}" for path, value in parameters.flatten(values).items()
    )


def total_text(sweep: Sweep) -> str:
    """Return how many trials have ended, of how many."""
    return f"{sweep.ended}/{sweep.facts.trials}" if sweep.facts.trials else f"{sweep.ended}"


def counts_text(sweep: Sweep) -> str:
    """Return the number of trials by state: `12/40 trials: 4 running, 7 succeeded, 1 failed`."""
    counts = ", ".join(f"{number} {state.lower()}" for state, number in sweep.counts().items())
    return f"{total_text(sweep)} trials" + (f": {counts}" if counts else "")


def goals_text(sweep: Sweep, trial: Trial) -> str:
    """Return a trial's values of the sweep's goals."""
    values = {metric: sweep.value(trial, metric) for metric in sweep.facts.goals}
    return "  ".join(metric_text(metric, value) for metric, value in values.items() if value is not None)


def best_text(sweep: Sweep) -> str:
    """Return the best trial so far in one line; empty without one."""
    best = sweep.best
    return f"trial {best.number}  {goals_text(sweep, best)}  {values_text(best.values, sweep.names)}" if best else ""


def seconds_of(sweep: Sweep, trial: Trial) -> float | None:
    """Return the duration of a trial so far; None if it was interrupted at an unknown time."""
    if trial.ended:
        return trial.ended - trial.began
    return None if sweep.record.state.ended else max(0.0, now() - trial.began)


def cause_text(trial: Trial) -> str:
    """Return why a trial has failed."""
    return ": ".join(filter(None, (trial.cause, " ".join(trial.message.split()))))


def failure_lines(sweep: Sweep) -> list[str]:
    """Return why trials have failed, the most frequent cause first, each with one trial's message."""
    by_cause: dict[str, list[Trial]] = {}
    for trial in sweep.trials:
        if trial.state is State.FAILED:
            by_cause.setdefault(trial.cause or "unknown", []).append(trial)
    lines = []
    for cause, trials in sorted(by_cause.items(), key=lambda item: -len(item[1])):
        message = shortened(" ".join(trials[0].message.split()), MESSAGE_WIDTH)
        lines.append(f"{styled(cause, 'red')}  {_trials_text(trials)}" + (f": {message}" if message else ""))
    return lines


def sweep_json(sweep: Sweep) -> dict[str, Any]:
    """Return the JSON of a sweep's trials."""
    counts = {state.lower(): number for state, number in sweep.counts().items()}
    return {
        "trials": {"total": sweep.facts.trials, "ended": sweep.ended, **counts},
        "best": trial_json(sweep, sweep.best) if sweep.best else None,
        "looks_for": asdict(sweep.facts),
    }


def trial_json(sweep: Sweep, trial: Trial) -> dict[str, Any]:
    """Return the JSON of a trial."""
    return {
        "trial": trial.number,
        "id": trial_id(sweep.record.id, trial.number),
        "state": sweep.state(trial),
        "values": trial.values,
        "score": {metric: sweep.value(trial, metric) for metric in sweep.facts.goals},
        "metrics": trial.metrics or trial.last,
        "epoch": trial.epoch,
        "duration_s": seconds_of(sweep, trial),
        "cause": trial.cause,
        "message": trial.message,
    }


def cells(sweep: Sweep, trial: Trial, metrics: Sequence[str], width: int) -> tuple[list[str], list[str], list[str]]:
    """Return a trial's table cells: number and state, values shortened to a width, and metrics."""
    values, numbers = parameters.flatten(trial.values), [sweep.value(trial, metric) for metric in metrics]
    return (
        [str(trial.number), state_text(sweep.state(trial))],
        [shortened(value_text(values[path]), width) if path in values else "" for path in sweep.names],
        ["" if number is None else number_text(number) for number in numbers],
    )


def _trials_text(trials: Sequence[Trial]) -> str:
    numbers = ", ".join(str(trial.number) for trial in trials[:LISTED_TRIALS])
    more = ", ..." if len(trials) > LISTED_TRIALS else ""
    return f"{len(trials)} trials ({numbers}{more})" if len(trials) > 1 else f"trial {numbers}"
