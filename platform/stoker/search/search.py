"""Which point a sweep tries next, and what it has learnt of the space; Optuna does the searching."""

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.study import StudyDirection
from optuna.trial import TrialState

from stoker.job.goals import aims
from stoker.job.job import Job
from stoker.job.sweep import GridSearch
from stoker.jobfile.space.space import Picks, Space
from stoker.search.distributions import distribution_of, shown_distribution, shown_pick, suggest
from stoker.search.sampling import PointSampler

State = Literal["complete", "pruned", "failed"]
ENOUGH = 4
"""Finished trials below which nothing is said about importance."""


@dataclass(frozen=True)
class Point:
    """A point of the space."""

    picks: dict[str, Any]
    """By name of each active dimension the number, or the index of the option."""
    values: dict[str, Any]
    """By dotted path of the job, derived values included."""


class Search:
    """Which point comes next: a function of the settings, the trial's number and what was told so far.

    Trials are numbered from 0 and asked for in order. To go on after an interruption, make a new search and repeat the
    calls in their order, with `restore` for `ask`.
    """

    def __init__(self, job: Job, space: Space) -> None:
        assert job.sweep is not None
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = space
        self._sweep = job.sweep
        self._seen: set[tuple[tuple[str, Any], ...]] = set()
        self._trials: dict[int, optuna.Trial] = {}
        self._picks: dict[int, Picks] = {}
        self._grid = space.grid() if isinstance(job.sweep.search, GridSearch) else None
        self._reported: set[tuple[int, int]] = set()
        better = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}
        self._directions = [better[aim.direction] for aim in aims(job)]
        with _quiet():
            self._sampler = PointSampler(job.sweep, space, self._accepts)
            self._study = optuna.create_study(directions=self._directions, sampler=self._sampler)

    @property
    def study(self) -> optuna.Study:
        """All trials so far as an Optuna study for figures: with labels for options and the numbers themselves."""
        with _quiet():
            shown = optuna.create_study(directions=self._directions)
        asked = {trial.number: self._picks[number] for number, trial in self._trials.items()}
        for trial in self._study.get_trials(deepcopy=False):
            if trial.number not in asked:
                continue
            active = self._space.active(asked[trial.number])
            shown.add_trial(
                optuna.trial.create_trial(
                    state=trial.state,
                    values=trial.values,
                    params={each.name: shown_pick(each, asked[trial.number][each.name]) for each in active},
                    distributions={each.name: shown_distribution(each) for each in active},
                    intermediate_values=trial.intermediate_values,
                )
            )
        return shown

    def ask(self, number: int) -> Point | None:
        """Return the point of a trial; None where no allowed, new one can be found."""
        forced = None
        if self._grid is not None:
            forced = next((picks for picks in self._grid if self._accepts(picks)), None)
            if forced is None:
                return None
        return self._begin(number, forced)

    def restore(self, number: int, picks: Picks) -> None:
        """Take over a point that an earlier search returned for this trial."""
        self._begin(number, picks)

    def report(self, number: int, epoch: int, value: float) -> None:
        """Tell what a trial has reached after an epoch; only a search by one metric learns from it."""
        if len(self._directions) == 1 and math.isfinite(value) and (number, epoch) not in self._reported:
            self._reported.add((number, epoch))
            self._trials[number].report(value, epoch)

    def tell(self, number: int, state: State, values: list[float] | None) -> None:
        """Tell how a trial ended, once; a value that is not finite counts as a failure.

        Args:
            number: of the trial.
            state: complete, pruned (ended early by a scheduler) or failed.
            values: one for each thing the trials are compared by, where it is complete.

        """
        finite = values is not None and all(map(math.isfinite, values))
        with _quiet():
            if state == "complete" and finite:
                self._study.tell(self._trials[number], values, skip_if_finished=True)
            elif state == "pruned" and len(self._directions) == 1:
                self._study.tell(self._trials[number], state=TrialState.PRUNED, skip_if_finished=True)
            else:
                self._study.tell(self._trials[number], state=TrialState.FAIL, skip_if_finished=True)

    def importances(self) -> dict[str, float]:
        """Return which share of the first metric's differences each path explains, the largest first.

        Only what every trial has is compared (not the ranges in options); nothing where too few trials are finished.
        """
        names = [each.name for each in self._space.dimensions if not each.when]
        done = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(done) < ENOUGH or len({trial.values[0] for trial in done}) < 2:
            return {}
        with _quiet():
            return optuna.importance.get_param_importances(
                self._study, params=names, target=lambda trial: float(trial.values[0])
            )

    def _begin(self, number: int, forced: Picks | None) -> Point | None:
        first = () if isinstance(self._sweep.search, GridSearch) else self._sweep.search.first
        fixed = self._space.placed(first[number]) if number < len(first) else {}
        self._sampler.begin(number, fixed, forced)
        with _quiet():
            trial = self._study.ask()
            drawn = trial.relative_params  # Optuna draws when this is first looked at
            picks = self._sampler.picks
            if picks is None or not drawn:
                self._study.tell(trial, state=TrialState.FAIL)
                return None
            active = self._space.active(picks)
            for each in active:
                suggest(trial, each.name, distribution_of(each))
        self._trials[number] = trial
        self._picks[number] = picks
        self._seen.add(_key(picks))
        return Point(picks, self._space.values(picks))

    def _accepts(self, picks: Picks) -> bool:
        """Tell whether a point is new, meets the conditions, and makes a job."""
        if self._space.bound is not None and _key(picks) in self._seen:
            return False
        return self._space.makes_job(picks)


def _key(picks: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(picks.items()))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Optuna's notes on what of it is new."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield
