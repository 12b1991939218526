"""The ledger of a sweep: which trials there were, with which values, how far each came and how it ended.

trials.jsonl in the sweep's folder, one object a line, appended and never changed:
  {"trial": 3, "event": "begin", "picks": {...}, "values": {...}, "time": ...}
  {"trial": 3, "event": "report", "epoch": 2, "step": 46, "metrics": {...}, "time": ...}
  {"trial": 3, "event": "values", "picks": {...}, "values": {...}, "source": 1, "copy": "...", "time": ...}
                       from here on it goes on from a copy of another trial's checkpoint, with values of its own
  {"trial": 3, "event": "end", "state": "PRUNED", "metrics": {...}, "cause": "", "message": "", "time": ...}
Searches and schedules are made again from it: it is in the order in which they were told.
"""

import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from stoker.tracking.record import RunFolder, follow_lines, read_json, replace_json
from stoker.tracking.run import State, known, now

SWEEP_KEY = re.compile(r"^sweep:", re.MULTILINE)


@dataclass(frozen=True)
class Report:
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
    reports: tuple[Report, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    """At the end: those of its best weights, of every part."""
    cause: str = ""
    message: str = ""
    began: float = 0.0
    """Seconds since 1970."""
    ended: float = 0.0
    changes: tuple[Change, ...] = ()
    taken: tuple[Report, ...] = ()
    """What the weights had reached that it took over last."""
    left: int = 0
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
    def line(self) -> tuple[Report, ...]:
        """What its weights have reached, first as another trial's."""
        return (*self.taken, *self.reports[self.left :])

    def score(self, metric: str, direction: str) -> float:
        """Return the best value that its weights have reached; NaN without one, and what is not finite never is it."""
        found = [report.metrics.get(metric, math.nan) for report in self.line]
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


def standing(trial: Trial, sweep: State) -> State:
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
    content = known(SweepFacts, read_json(folder.facts))
    if not content:
        return None
    pairs = tuple((metric, direction) for metric, direction in content.get("metrics", ()))
    return SweepFacts(**{**content, "metrics": pairs, "paths": tuple(content.get("paths", ()))})


def write_facts(folder: RunFolder, facts: SweepFacts) -> None:
    """Say what a sweep looks for."""
    replace_json(folder.facts, asdict(facts))


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
        if trial.number in points and not any(_beats(other, points[trial.number]) for other in points.values())
    ]


class Ledger:
    """Writes the ledger; a line is whole or not there. Each entry outlives the death of this process at once."""

    def __init__(self, path: Path) -> None:
        self.trials: dict[int, Trial] = {}
        whole = 0
        for entry, after in _entries(path):
            _take(self.trials, entry)
            whole = after
        self._file = path.open("a", encoding="utf-8")
        self._file.truncate(whole)

    def begin(self, number: int, picks: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Say that a trial was chosen, before anything of it exists."""
        self._append(number, "begin", picks=dict(picks), values=dict(values))
        os.fsync(self._file.fileno())

    def report(self, number: int, epoch: int, step: int, metrics: Mapping[str, float]) -> bool:
        """Say how far a trial is; False where that is known: an attempt that goes on repeats what was told before."""
        if epoch <= self.trials[number].epoch:
            return False
        self._append(number, "report", epoch=epoch, step=step, metrics=dict(metrics))
        return True

    def change(self, number: int, picks: Mapping[str, Any], values: Mapping[str, Any], source: int, copy: str) -> None:
        """Say that a trial goes on from a copy of another's checkpoint, with other values."""
        self._append(number, "values", picks=dict(picks), values=dict(values), source=source, copy=copy)
        os.fsync(self._file.fileno())

    def end(self, number: int, state: State, metrics: Mapping[str, float], cause: str = "", message: str = "") -> None:
        """Say how a trial ended; what was said first stays."""
        if self.trials[number].state.final:
            return
        self._append(number, "end", state=str(state), metrics=dict(metrics), cause=cause, message=message)
        os.fsync(self._file.fileno())

    def reopen(self, number: int) -> None:
        """Let a trial that has failed or was cancelled go on."""
        self._append(number, "reopen")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, number: int, event: str, **more: Any) -> None:
        entry = {"trial": number, "event": event, **more, "time": now()}
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()
        _take(self.trials, entry)


class LedgerReader:
    """Follows a ledger that somebody else writes, and reads each entry once."""

    def __init__(self, path: Path) -> None:
        self.trials: dict[int, Trial] = {}
        self._path = path
        self._position = 0

    def read(self) -> list[Trial]:
        """Return all that is known by now, by the trials' numbers."""
        for entry, after in _entries(self._path, self._position):
            _take(self.trials, entry)
            self._position = after
        return [self.trials[number] for number in sorted(self.trials)]


def _beats(one: Sequence[float], other: Sequence[float]) -> bool:
    """Tell whether values are at most as high everywhere, and lower somewhere."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def read_trials(path: Path) -> list[Trial]:
    """Read a ledger that somebody else may be writing, by the trials' numbers; empty without one."""
    return LedgerReader(path).read()


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """Yield what was written, in its order."""
    for entry, _ in _entries(path):
        yield entry


def _entries(path: Path, position: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    for line, after in follow_lines(path, position):
        yield json.loads(line), after


def _take(trials: dict[int, Trial], entry: Mapping[str, Any]) -> None:
    """Bring what is known up to an entry; an event that this version does not know says nothing."""
    number, time = entry["trial"], entry["time"]
    match entry["event"]:
        case "begin":
            trials[number] = Trial(number, entry["picks"], entry["values"], began=time)
        case "report":
            report = Report(entry["epoch"], entry["step"], entry["metrics"])
            trials[number] = replace(trials[number], reports=(*trials[number].reports, report))
        case "values":
            before, source = trials[number], entry["source"]
            trials[number] = replace(
                before,
                picks=entry["picks"],
                values=entry["values"],
                changes=(*before.changes, Change(before.epoch, source, entry["copy"], entry["values"])),
                taken=trials[source].line,
                left=len(before.reports),
            )
        case "reopen":
            trials[number] = replace(trials[number], state=State.RUNNING, cause="", message="", ended=0.0)
        case "end":
            trials[number] = replace(
                trials[number],
                state=State(entry["state"]),
                metrics=entry["metrics"],
                cause=entry["cause"],
                message=entry["message"],
                ended=time,
            )
