"""Draws complete points with Optuna's samplers, and redraws points that are rejected."""

import random
from collections.abc import Callable, Mapping
from itertools import chain, islice
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from stoker.job.sweep import GridSearch, Sweep
from stoker.jobfile.space.space import ENUMERATION_LIMIT, Coordinates, Space
from stoker.search.distributions import coordinate_of, distribution_of, sampler_value_of

MODEL_DRAWS = {"tpe": 10, "cmaes": 10, "gp": 3}
"""Draws from a model before random draws: it would draw nearly the same point again, and a Gaussian process is slow."""
DRAWS = 1000
"""Maximum number of draws from a large space, whose conditions may leave almost no points."""
DRAWS_FEW = 100
"""Maximum number of draws from a small space, whose points are then enumerated."""


def mixed_seed(*numbers: int) -> int:
    """Return a seed that is a hash of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


class PointSampler(BaseSampler):
    """Chooses all values of a trial at once: `begin` sets the trial, and `coordinates` holds the result.

    The point of a trial depends only on the seed, its number and the results so far, not on the state of a random
    generator: a search that gets the same results again continues with the same points.
    """

    def __init__(self, sweep: Sweep, space: Space, accepts: Callable[[Coordinates], bool]) -> None:
        self._sweep = sweep
        self._space = space
        self._accepts = accepts
        self._distributions = {each.name: distribution_of(each) for each in space.dimensions}
        self._seed = 0 if isinstance(sweep.search, GridSearch) else sweep.search.seed
        self._sobol = _Sobol(self._distributions, mixed_seed(self._seed)) if sweep.search.type == "sobol" else None
        self._number = 0
        self._fixed: Coordinates = {}
        self._forced: Coordinates | None = None
        self.coordinates: dict[str, Any] | None = None

    def begin(self, number: int, fixed: Coordinates, forced: Coordinates | None) -> None:
        """Set the next trial.

        Args:
            number: of the trial, from 0.
            fixed: coordinates that it must have; the others are drawn.
            forced: all of its coordinates, if an earlier search has chosen them.

        """
        self._number, self._fixed, self._forced = number, fixed, forced

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return all dimensions, so that none is drawn independently."""
        return self._distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the values of the active dimensions; empty if no point is left."""
        kind = self._sweep.search.type
        if self._forced is None:
            self.coordinates = self._drawn(study, trial)
        else:
            if kind == "sobol":
                self._drawn(study, trial)  # advances the sequence
            elif kind == "cmaes":
                self._draw(self._sampler(0), study, trial, {})  # records the generation in the trial
            self.coordinates = dict(self._forced)
        if self.coordinates is None:
            return {}
        return {
            each.name: sampler_value_of(each, self.coordinates[each.name])
            for each in self._space.active(self.coordinates)
        }

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Fail: all values are drawn together."""
        raise AssertionError(param_name)

    def _drawn(self, study: Study, trial: FrozenTrial) -> dict[str, Any] | None:
        few = self._space.bound is not None and self._space.bound <= ENUMERATION_LIMIT
        draws = DRAWS_FEW if few else DRAWS
        for redraw in range(draws):
            # if the point to try first is a duplicate, draw a new one
            fixed = self._fixed if redraw < draws // 2 else {}
            coordinates = self._draw(self._sampler(redraw), study, trial, fixed)
            if self._accepts(coordinates):
                return coordinates
        return self._left_over() if few else None

    def _left_over(self) -> dict[str, Any] | None:
        """Return the next unused point of a small space, enumerated from a start that the seed draws."""
        bound = self._space.bound or 1
        start = random.Random(mixed_seed(self._seed, self._number)).randrange(bound)  # noqa: S311 - no secret
        points = chain(islice(self._space.grid(), start, None), islice(self._space.grid(), start))
        return next((coordinates for coordinates in points if self._accepts(coordinates)), None)

    def _draw(self, sampler: BaseSampler, study: Study, trial: FrozenTrial, fixed: Coordinates) -> dict[str, Any]:
        drawn = sampler.sample_relative(study, trial, sampler.infer_relative_search_space(study, trial))
        coordinates: dict[str, Any] = {}
        for each in self._space.dimensions:
            if not all(coordinates.get(name) == index for name, index in each.when):
                continue
            if each.name in fixed:
                coordinates[each.name] = fixed[each.name]
            elif each.name in drawn:
                coordinates[each.name] = coordinate_of(each, drawn[each.name])
            else:
                distribution = self._distributions[each.name]
                coordinates[each.name] = coordinate_of(
                    each, sampler.sample_independent(study, trial, each.name, distribution)
                )
        return coordinates

    def _sampler(self, redraw: int) -> BaseSampler:
        """Return a new sampler for one draw, whose only state is its seed."""
        if self._sobol:
            return self._sobol
        seed = mixed_seed(self._seed, self._number, redraw)
        kind = self._sweep.search.type
        if redraw >= MODEL_DRAWS.get(kind, 0):
            return RandomSampler(seed=seed)
        if kind == "tpe":
            is_parallel = self._sweep.parallel != 1
            return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=is_parallel)
        if kind == "cmaes":
            return CmaEsSampler(seed=seed, warn_independent_sampling=False, consider_pruned_trials=True)
        return GPSampler(seed=seed, warn_independent_sampling=False)


class _Sobol(QMCSampler):
    """A scrambled Sobol sequence over all dimensions, whichever of them are active in a trial."""

    def __init__(self, distributions: Mapping[str, BaseDistribution], seed: int) -> None:
        super().__init__(qmc_type="sobol", scramble=True, seed=seed, warn_independent_sampling=False)
        self._distributions = dict(distributions)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._distributions
