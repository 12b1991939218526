"""The trials of a sweep and how they compare."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from stoker.tracking.run import State, known_fields
from stoker.tracking.run_folder import RunFolder, read_json, write_json

SWEEP_KEY = re.compile(r"^sweep:", re.MULTILINE)


@dataclass(frozen=True)
class EpochReport:
    """What a trial reached at the end of an epoch."""

    epoch: int
    step: int
    metrics: dict[str, float]
    """By quantity and part, such as accuracy/val; a sweep may also go by `parameters` and `seconds`."""


@dataclass(frozen=True)
class Change:
    """In mid-run a trial went on from another's weights."""

    epoch: int
    """What the trial had done by then."""
    source: int
    """Number of the other trial."""
    copy: str
    """Key of the copy of the other's checkpoint."""
    values: dict[str, Any]
    """By path in the job, from here on."""


@dataclass(frozen=True)
class Trial:
    """What is known of one trial."""

    number: int
    """Counted from 0 in the order in which they began."""
    picks: dict[str, Any]
    """By dimension of the space."""
    values: dict[str, Any]
    """By path in the job; where they have changed, the last ones."""
    state: State = State.RUNNING
    reports: tuple[EpochReport, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    """At the end: those of its best weights, of every part."""
    cause: str = ""
    message: str = ""
    began: float = 0.0
    """Seconds since 1970."""
    ended: float = 0.0
    changes: tuple[Change, ...] = ()
    inherited: tuple[EpochReport, ...] = ()
    """What the weights had reached that it took over last."""
    discarded: int = 0
    """How many of its own reports are of weights that it has left for those."""

    @property
    def epoch(self) -> int:
        """Epochs done so far."""
        return self.reports[-1].epoch if self.reports else 0

    @property
    def last(self) -> dict[str, float]:
        """The metrics of the last epoch."""
        return self.reports[-1].metrics if self.reports else {}

    @property
    def lineage(self) -> tuple[EpochReport, ...]:
        """What its weights have reached, first as another trial's."""
        return (*self.inherited, *self.reports[self.discarded :])

    def score(self, metric: str, direction: str) -> float:
        """Return the best value that its weights have reached; NaN without one, and what is not finite never is it."""
        found = [report.metrics.get(metric, math.nan) for report in self.lineage]
        finite = [value for value in found if math.isfinite(value)]
        if not finite:
            return math.nan
        return max(finite) if direction == "max" else min(finite)


@dataclass(frozen=True)
class SweepFacts:
    """What a sweep looks for, and at its end what it found."""

    metric: str
    """What its trials are compared by, such as accuracy/val; of several the first."""
    direction: str
    """`max` or `min`."""
    metrics: tuple[tuple[str, str], ...] = ()
    """All that they are compared by, each with its direction."""
    trials: int | None = None
    """How many there will be, those of `extend` included; None where a time alone ends the sweep."""
    parallel: int = 1
    paths: tuple[str, ...] = ()
    """The paths in the job that are varied."""
    worked_s: float = 0.0
    """How long its drivers have worked on it, of the time that it has."""
    best: int | None = None
    importances: dict[str, float] = field(default_factory=dict)
    """By path."""
    registered: str = ""
    """Name of the registered model that the best trial's became a version of."""

    @property
    def goals(self) -> dict[str, str]:
        """What the trials are compared by, with the directions, the first first."""
        return {self.metric: self.direction, **dict(self.metrics)}


def effective_state(trial: Trial, sweep: State) -> State:
    """Say where a trial stands: with nobody at work it does not run, whatever was said of it last.

    Args:
        trial: what the ledger has of it.
        sweep: how its sweep stands.

    """
    if trial.state.final or not sweep.ended:
        return trial.state
    return sweep if sweep in (State.PAUSED, State.CANCELLED) else State.INTERRUPTED


def is_sweep(folder: RunFolder) -> bool:
    """Tell whether a run is a sweep, from its job alone, which is not checked again."""
    return SWEEP_KEY.search(folder.job.read_text(encoding="utf-8")) is not None


def read_facts(folder: RunFolder) -> SweepFacts | None:
    """Read what a sweep looks for; None for a run that is no sweep, or not yet known as one."""
    content = known_fields(SweepFacts, read_json(folder.facts))
    if not content:
        return None
    pairs = tuple((metric, direction) for metric, direction in content.get("metrics", ()))
    return SweepFacts(**{**content, "metrics": pairs, "paths": tuple(content.get("paths", ()))})


def write_facts(folder: RunFolder, facts: SweepFacts) -> None:
    """Say what a sweep looks for."""
    write_json(folder.facts, asdict(facts))


def trial_id(sweep: str, number: int) -> str:
    """Name a trial: as a run, and as its folder."""
    return f"{sweep}.{number}"


def ranked(trials: Sequence[Trial], metric: str, direction: str) -> list[Trial]:
    """Sort trials, the best first; those without a value come last, in the order of their numbers.

    Only trials that ended well, were stopped early or still go on take part in a comparison: one that has failed has
    no model.
    """

    def key(trial: Trial) -> tuple[bool, float, int]:
        score = trial.score(metric, direction)
        out = math.isnan(score) or trial.state in (State.FAILED, State.CANCELLED)
        return out, (0.0 if out else -score if direction == "max" else score), trial.number

    return sorted(trials, key=key)


def best_of(trials: Sequence[Trial], metric: str, direction: str) -> Trial | None:
    """Pick the best trial; None while none has a value.

    Once all are over it is one that came to its end, where there is one: a trial that was stopped early may have had a
    better value on its way, but has no model.
    """
    over = all(trial.state.final for trial in trials)
    whole = [trial for trial in trials if over and trial.state is State.SUCCEEDED]
    first = next(iter(ranked(whole or trials, metric, direction)), None)
    if first is None or first.state in (State.FAILED, State.CANCELLED):
        return None
    return None if math.isnan(first.score(metric, direction)) else first


def best_trial(trials: Sequence[Trial], facts: SweepFacts) -> Trial | None:
    """Pick a sweep's best trial so far; None while none has a value that counts."""
    return best_of(trials, facts.metric, facts.direction)


def pareto_front(trials: Sequence[Trial], goals: Mapping[str, str]) -> list[Trial]:
    """Pick the trials that no other beats in all metrics, in their order; empty where there is one metric.

    Args:
        trials: those without a value for each metric, failed and cancelled ones are passed over.
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
    """Tell whether values are at most as high everywhere, and lower somewhere."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
