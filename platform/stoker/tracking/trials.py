"""The trials of a sweep and how they are ranked."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from stoker.tracking.run import State, known_fields
from stoker.tracking.run_folder import RunFolder, read_json, write_json

TOTALS = ("seconds",)
"""Costs that grow with each epoch."""
SWEEP_KEY = re.compile(r"^sweep:", re.MULTILINE)


@dataclass(frozen=True)
class EpochReport:
    """A trial's report at the end of an epoch."""

    epoch: int
    step: int
    metrics: dict[str, float]
    """By quantity and part, such as accuracy/val; also `parameters` and `seconds`, by which a sweep may rank."""


@dataclass(frozen=True)
class Change:
    """A PBT exploit: a trial continued from another one's weights."""

    epoch: int
    """Epochs that the trial had done."""
    source: int
    """Number of the other trial."""
    copy: str
    """Key of the copied checkpoint."""
    values: dict[str, Any]
    """By path in the job, from here on."""


@dataclass(frozen=True)
class Trial:
    """One trial, as its ledger describes it."""

    number: int
    """Counted from 0 in the order of their start."""
    picks: dict[str, Any]
    """By dimension of the space."""
    values: dict[str, Any]
    """By path in the job; the latest, if they have changed."""
    state: State = State.RUNNING
    reports: tuple[EpochReport, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    """Of the best weights, by quantity and part, at the end."""
    cause: str = ""
    message: str = ""
    began: float = 0.0
    """Seconds since 1970."""
    ended: float = 0.0
    changes: tuple[Change, ...] = ()
    inherited: tuple[EpochReport, ...] = ()
    """Reports of the other trial's weights that it took over last."""
    discarded: int = 0
    """Number of its own reports before that."""

    @property
    def epoch(self) -> int:
        """Return the epochs done so far."""
        return self.reports[-1].epoch if self.reports else 0

    @property
    def last(self) -> dict[str, float]:
        """Return the metrics of the last epoch."""
        return self.reports[-1].metrics if self.reports else {}

    def latest(self, metric: str) -> float | None:
        """Return the newest value of a metric, which not every epoch need have; None without one."""
        return next((each.metrics[metric] for each in reversed(self.lineage) if metric in each.metrics), None)

    @property
    def lineage(self) -> tuple[EpochReport, ...]:
        """Return the reports of its present weights, first as another trial's."""
        return (*self.inherited, *self.reports[self.discarded :])

    def score(self, metric: str, direction: str) -> float:
        """Return the best finite value of its present weights, or the last one of a cost that adds up; NaN without."""
        found = [report.metrics.get(metric, math.nan) for report in self.lineage]
        finite = [value for value in found if math.isfinite(value)]
        if not finite:
            return math.nan
        if metric in TOTALS:
            return finite[-1]
        return max(finite) if direction == "max" else min(finite)


@dataclass(frozen=True)
class SweepFacts:
    """The goals of a sweep, and its results."""

    metric: str
    """The metric by which trials are ranked, such as accuracy/val; the first of several."""
    direction: str
    """`max` or `min`."""
    metrics: tuple[tuple[str, str], ...] = ()
    """All metrics, each with its direction."""
    trials: int | None = None
    """Number of trials, including those of `extend`; None if only time limits the sweep."""
    parallel: int = 1
    paths: tuple[str, ...] = ()
    """The swept paths in the job."""
    worked_s: float = 0.0
    """Working time of its drivers so far, which counts towards `sweep.time`."""
    best: int | None = None
    importances: dict[str, float] = field(default_factory=dict)
    """By path."""
    registered: str = ""
    """Name of the registered model that has the best trial's model as a version."""

    @property
    def goals(self) -> dict[str, str]:
        """Return all metrics with their directions, the first one first."""
        return {self.metric: self.direction, **dict(self.metrics)}


def effective_state(trial: Trial, sweep: State) -> State:
    """Return a trial's state; without a living driver an unfinished trial does not run.

    Args:
        trial: from the ledger.
        sweep: state of its sweep.

    """
    if trial.state.final or not sweep.ended:
        return trial.state
    return sweep if sweep in (State.PAUSED, State.CANCELLED) else State.INTERRUPTED


def is_sweep(folder: RunFolder) -> bool:
    """Return whether a run is a sweep, from its job file, which is not validated again."""
    return SWEEP_KEY.search(folder.job.read_text(encoding="utf-8")) is not None


def read_facts(folder: RunFolder) -> SweepFacts | None:
    """Read a sweep's facts; None for a single run, and for a sweep that has not started."""
    content = known_fields(SweepFacts, read_json(folder.facts))
    if not content:
        return None
    pairs = tuple((metric, direction) for metric, direction in content.get("metrics", ()))
    return SweepFacts(**{**content, "metrics": pairs, "paths": tuple(content.get("paths", ()))})


def write_facts(folder: RunFolder, facts: SweepFacts) -> None:
    """Write a sweep's facts."""
    write_json(folder.facts, asdict(facts))


def trial_id(sweep: str, number: int) -> str:
    """Return the id of a trial, which also names its folder."""
    return f"{sweep}.{number}"


def trial_number(run: str) -> int | None:
    """Return the number in the id of a trial; None for any other run."""
    sweep, _, number = run.rpartition(".")
    return int(number) if sweep and number.isdecimal() else None


def ranked(trials: Sequence[Trial], metric: str, direction: str) -> list[Trial]:
    """Sort trials, the best first; trials without a value come last, by number.

    Failed and cancelled trials are not ranked, because they have no model.
    """

    def key(trial: Trial) -> tuple[bool, float, int]:
        score = trial.score(metric, direction)
        out = math.isnan(score) or trial.state in (State.FAILED, State.CANCELLED)
        return out, (0.0 if out else -score if direction == "max" else score), trial.number

    return sorted(trials, key=key)


def best_of(trials: Sequence[Trial], metric: str, direction: str) -> Trial | None:
    """Return the best trial; None while none has a value.

    Once all have ended, completed trials precede those stopped early: these may have had a better value but have no
    model.
    """
    over = all(trial.state.final for trial in trials)
    whole = [trial for trial in trials if over and trial.state is State.SUCCEEDED]
    first = next(iter(ranked(whole or trials, metric, direction)), None)
    if first is None or first.state in (State.FAILED, State.CANCELLED):
        return None
    return None if math.isnan(first.score(metric, direction)) else first


def best_trial(trials: Sequence[Trial], facts: SweepFacts) -> Trial | None:
    """Return a sweep's best trial so far; None while none has a value."""
    return best_of(trials, facts.metric, facts.direction)


def pareto_front(trials: Sequence[Trial], goals: Mapping[str, str]) -> list[Trial]:
    """Return the trials that no other one beats in all metrics, in their order; empty for a single metric.

    Args:
        trials: trials without a value of each metric, and failed or cancelled ones, are ignored.
        goals: the metrics, each with `max` or `min`.

    """
    if len(goals) < 2:
        return []
    signs = [-1 if direction == "max" else 1 for direction in goals.values()]
    points = {}
    for trial in trials:
        scores = [trial.score(metric, direction) for metric, direction in goals.items()]
        if trial.state not in (State.FAILED, State.CANCELLED) and all(map(math.isfinite, scores)):
            points[trial.number] = [sign * score for sign, score in zip(signs, scores, strict=True)]
    return [
        trial
        for trial in trials
        if trial.number in points and not any(_dominates(other, points[trial.number]) for other in points.values())
    ]


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Return whether no value is higher and at least one is lower."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
