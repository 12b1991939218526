"""How a sweep reads: its trials, how far they are, which is the best, and why some have failed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from stoker.cli.tables import state_text, styled
from stoker.cli.words import metric_text, number_text, shortened, value_text
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

COUNTED = (State.RUNNING, State.PAUSED, State.INTERRUPTED, State.SUCCEEDED, State.PRUNED, State.FAILED, State.CANCELLED)
NAMED_TRIALS = 8
MESSAGE_WIDTH = 100


@dataclass(frozen=True)
class Sweep:
    """What is known of a sweep by now."""

    record: RunRecord
    facts: SweepFacts
    trials: Sequence[Trial]

    @cached_property
    def best(self) -> Trial | None:
        """The best trial so far."""
        return best_trial(self.trials, self.facts)

    @property
    def ended(self) -> int:
        """How many trials have ended for good."""
        return sum(trial.state.final for trial in self.trials)

    @cached_property
    def names(self) -> dict[str, str]:
        """What is varied, by path, and what the columns are called."""
        paths = dict.fromkeys(path for trial in self.trials for path in parameters.flatten(trial.values))
        return short_names([*paths])

    def state(self, trial: Trial) -> State:
        """Say where a trial stands."""
        return effective_state(trial, self.record.state)

    def counts(self) -> dict[str, int]:
        """Count the trials by their state, in the order in which people ask."""
        states = [self.state(trial) for trial in self.trials]
        return {str(state): states.count(state) for state in COUNTED if state in states}

    def value(self, trial: Trial, metric: str) -> float | None:
        """Return what a trial reached: of what is looked for its best, of the rest what its best weights reach."""
        if direction := self.facts.goals.get(metric):
            score = trial.score(metric, direction)
            if math.isfinite(score):
                return score
        return trial.metrics.get(metric, trial.last.get(metric))

    def direction(self, metric: str) -> str:
        """Say which way a metric is better; a term of somebody's own loss is better when it is smaller."""
        row = next((row for name, row in TASKS.items() if name == self.record.header.task), None)
        known = row.metrics.get(metric.partition("/")[0]) if row else None
        return self.facts.goals.get(metric) or known or "min"

    def sorted(self, metric: str) -> list[Trial]:
        """Sort the trials by a metric, the best first; those without a value, or without a model, come last."""
        if metric == self.facts.metric:
            return ranked(self.trials, metric, self.direction(metric))

        def key(trial: Trial) -> tuple[bool, float, int]:
            value = self.value(trial, metric)
            if value is None or not math.isfinite(value) or trial.state in (State.FAILED, State.CANCELLED):
                return True, 0.0, trial.number
            return False, -value if self.direction(metric) == "max" else value, trial.number

        return sorted(self.trials, key=key)

    def metrics(self) -> list[str]:
        """Name all metrics that a trial has, what is looked for first."""
        recorded = [name for trial in self.trials for name in (*trial.last, *trial.metrics)]
        return [*dict.fromkeys([*self.facts.goals, *recorded])]


def read_sweep(record: RunRecord) -> Sweep | None:
    """Read the sweep that a run is; None for a run that is none."""
    folder = RunFolder(record.folder)
    facts = read_facts(folder)
    return Sweep(record, facts, read_trials(folder.ledger)) if facts else None


def require_sweep(folder: RunFolder) -> Sweep:
    """Read a sweep.

    Raises:
        NotFound: the run is none, or nothing is known of its trials.

    """
    sweep, run = read_sweep(folder.record()), folder.path.name
    if sweep is None:
        if not folder.sweep and is_sweep(folder):
            untold = bool(folder.header().cluster) and not folder.header().experiment
            why = "with tracking: none its driver alone knows them" if untold else "it has not begun with them"
            raise NotFound(f"nothing is known of the trials of {run} yet: {why}")
        cure = (
            f"`stoker trials {folder.sweep.path.name}` shows all" if folder.sweep else f"`stoker status {run}` shows it"
        )
        raise NotFound(f"{run} is {'a trial' if folder.sweep else 'no sweep: it has no trials'}; {cure}")
    return sweep


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Call each path by the shortest end that no other has, and the type of a thing by the thing."""
    things = {path: path.removesuffix(".type") for path in paths}
    ends = parameters.short_names([*things.values()])
    return {path: path if list(things.values()).count(thing) > 1 else ends[thing] for path, thing in things.items()}


def values_text(values: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Write the values of a trial in one line."""
    return " ".join(
        f"{names.get(path, path)}={value_text(value)}" for path, value in parameters.flatten(values).items()
    )


def total_text(sweep: Sweep) -> str:
    """Write how many trials have ended, of how many."""
    return f"{sweep.ended}/{sweep.facts.trials}" if sweep.facts.trials else f"{sweep.ended}"


def counts_text(sweep: Sweep) -> str:
    """Write how the trials stand: `12/40 trials: 4 running, 7 succeeded, 1 failed`."""
    counts = ", ".join(f"{number} {state.lower()}" for state, number in sweep.counts().items())
    return f"{total_text(sweep)} trials" + (f": {counts}" if counts else "")


def goals_text(sweep: Sweep, trial: Trial) -> str:
    """Write what a trial reached of what is looked for."""
    values = {metric: sweep.value(trial, metric) for metric in sweep.facts.goals}
    return "  ".join(metric_text(metric, value) for metric, value in values.items() if value is not None)


def best_text(sweep: Sweep) -> str:
    """Write the best trial so far in one line; empty without one."""
    best = sweep.best
    return f"trial {best.number}  {goals_text(sweep, best)}  {values_text(best.values, sweep.names)}" if best else ""


def seconds_of(sweep: Sweep, trial: Trial) -> float | None:
    """Tell how long a trial took, or takes by now; None where it was cut short, nobody knows when."""
    if trial.ended:
        return trial.ended - trial.began
    return None if sweep.record.state.ended else max(0.0, now() - trial.began)


def cause_text(trial: Trial) -> str:
    """Write why a trial has failed."""
    return ": ".join(filter(None, (trial.cause, " ".join(trial.message.split()))))


def failure_lines(sweep: Sweep) -> list[str]:
    """Write why trials have failed, the most frequent cause first, each with what one of them said."""
    by_cause: dict[str, list[Trial]] = {}
    for trial in sweep.trials:
        if trial.state is State.FAILED:
            by_cause.setdefault(trial.cause or "unknown", []).append(trial)
    lines = []
    for cause, trials in sorted(by_cause.items(), key=lambda item: -len(item[1])):
        said = shortened(" ".join(trials[0].message.split()), MESSAGE_WIDTH)
        lines.append(f"{styled(cause, 'red')}  {_trials_text(trials)}" + (f": {said}" if said else ""))
    return lines


def sweep_json(sweep: Sweep) -> dict[str, Any]:
    """Describe the trials of a sweep for other programs."""
    counts = {state.lower(): number for state, number in sweep.counts().items()}
    return {
        "trials": {"total": sweep.facts.trials, "ended": sweep.ended, **counts},
        "best": trial_json(sweep, sweep.best) if sweep.best else None,
        "looks_for": asdict(sweep.facts),
    }


def trial_json(sweep: Sweep, trial: Trial) -> dict[str, Any]:
    """Describe a trial for other programs."""
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
    """Write a trial for tables: number and state, its values, its metrics; no value is wider than so much."""
    values, numbers = parameters.flatten(trial.values), [sweep.value(trial, metric) for metric in metrics]
    return (
        [str(trial.number), state_text(sweep.state(trial))],
        [shortened(value_text(values[path]), width) if path in values else "" for path in sweep.names],
        ["" if number is None else number_text(number) for number in numbers],
    )


def _trials_text(trials: Sequence[Trial]) -> str:
    numbers = ", ".join(str(trial.number) for trial in trials[:NAMED_TRIALS])
    more = ", ..." if len(trials) > NAMED_TRIALS else ""
    return f"{len(trials)} trials ({numbers}{more})" if len(trials) > 1 else f"trial {numbers}"
