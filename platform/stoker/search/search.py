"""The search algorithm of a sweep: its next point, and the importance of its dimensions; built on Optuna."""

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

from stoker.job.goals import goals_of
from stoker.job.own_code import AnyJob
from stoker.job.sweep import GridSearch
from stoker.jobfile.space.space import Coordinates, Space
from stoker.search.distributions import distribution_of, shown_distribution, shown_value, suggest
from stoker.search.sampling import PointSampler

State = Literal["complete", "pruned", "failed"]
MIN_FINISHED_TRIALS = 4
"""Number of finished trials from which importances are computed."""


@dataclass(frozen=True)
class Point:
    """A point of the search space."""

    coordinates: dict[str, Any]
    """For the name of each active dimension its number, or the index of its option."""
    values: dict[str, Any]
    """Values by dotted path of the job, with derived ones."""


class Search:
    """Chooses the point of each trial, as a function of the settings, the trial's number and the results so far.

    Trials are numbered from 0 and must be asked for in order. To continue after an interruption, create a new search
    and repeat the calls in the same order, with `restore` in place of `ask`.
    """

    def __init__(self, job: AnyJob, space: Space) -> None:
        assert job.sweep is not None
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = space
        self._sweep = job.sweep
        self._used_points: set[tuple[tuple[str, Any], ...]] = set()
        self._trials: dict[int, optuna.Trial] = {}
        self._picks: dict[int, Coordinates] = {}
        self._grid = space.grid() if isinstance(job.sweep.search, GridSearch) else None
        self._reported: set[tuple[int, int]] = set()
        better = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}
        self._directions = [better[goal.direction] for goal in goals_of(job)]
        with _quiet():
            self._sampler = PointSampler(job.sweep, space, self._accepts)
            self._study = optuna.create_study(directions=self._directions, sampler=self._sampler)

    @property
    def study(self) -> optuna.Study:
        """All trials so far as an Optuna study for figures, with the labels of options and the numbers themselves."""
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
                    params={each.name: shown_value(each, asked[trial.number][each.name]) for each in active},
                    distributions={each.name: shown_distribution(each) for each in active},
                    intermediate_values=trial.intermediate_values,
                )
            )
        return shown

    def ask(self, number: int) -> Point | None:
        """Return the point of a trial; None if no new point that meets the conditions was found."""
        forced = None
        if self._grid is not None:
            forced = next((coordinates for coordinates in self._grid if self._accepts(coordinates)), None)
            if forced is None:
                return None
        return self._begin(number, forced)

    def restore(self, number: int, coordinates: Coordinates) -> None:
        """Set the point of a trial to the one that an earlier search has returned."""
        self._begin(number, coordinates)

    def report(self, number: int, epoch: int, value: float) -> None:
        """Record the metric of a trial after an epoch; ignored if the sweep has several metrics."""
        if len(self._directions) == 1 and math.isfinite(value) and (number, epoch) not in self._reported:
            self._reported.add((number, epoch))
            self._trials[number].report(value, epoch)

    def tell(self, number: int, state: State, values: list[float] | None) -> None:
        """Record the result of a trial, once; a value that is not finite counts as a failure.

        Args:
            number: of the trial.
            state: complete, pruned (ended early by a scheduler) or failed.
            values: of each goal, if the trial is complete.

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
        """Return the fraction of the first metric's variance that each path explains, the largest first.

        Covers only dimensions that every trial has, not the ranges in options; empty if too few trials are finished.
        """
        names = [each.name for each in self._space.dimensions if not each.when]
        done = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(done) < MIN_FINISHED_TRIALS or len({trial.values[0] for trial in done}) < 2:
            return {}
        with _quiet():
            return optuna.importance.get_param_importances(
                self._study, params=names, target=lambda trial: float(trial.values[0])
            )

    def _begin(self, number: int, forced: Coordinates | None) -> Point | None:
        first = () if isinstance(self._sweep.search, GridSearch) else self._sweep.search.first
        fixed = self._space.coordinates_of(first[number]) if number < len(first) else {}
        self._sampler.begin(number, fixed, forced)
        with _quiet():
            trial = self._study.ask()
            drawn = trial.relative_params  # Optuna draws on the first access
            coordinates = self._sampler.coordinates
            if coordinates is None or not drawn:
                self._study.tell(trial, state=TrialState.FAIL)
                return None
            active = self._space.active(coordinates)
            for each in active:
                suggest(trial, each.name, distribution_of(each))
        self._trials[number] = trial
        self._picks[number] = coordinates
        self._used_points.add(_key(coordinates))
        return Point(coordinates, self._space.values(coordinates))

    def _accepts(self, coordinates: Coordinates) -> bool:
        """Return whether a point is new, meets the conditions and is a valid job."""
        if self._space.bound is not None and _key(coordinates) in self._used_points:
            return False
        return self._space.makes_job(coordinates)


def _key(coordinates: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(coordinates.items()))


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress Optuna's warnings about experimental features."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield
