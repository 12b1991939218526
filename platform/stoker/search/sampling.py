"""Draws whole points with Optuna's samplers, again where a point is refused."""

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
from stoker.jobfile.space.space import COUNTED, Picks, Space
from stoker.search.distributions import distribution_of, drawn_of, pick_of

MODEL_DRAWS = {"tpe": 10, "cmaes": 10, "gp": 3}
"""Draws from a model before chance takes over: it would draw much the same again; a Gaussian process takes long."""
DRAWS = 1000
"""Draws before a space is given up whose conditions leave almost nothing."""
DRAWS_FEW = 100
"""Draws before the points of a small space are looked at one by one."""


def mixed_seed(*numbers: int) -> int:
    """Make one seed of several numbers; others give another, unrelated one."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


class PointSampler(BaseSampler):
    """Chooses all values of a trial at once; `begin` says of which trial, `picks` is what was chosen.

    What a trial gets depends on the seed, its number and what was told so far, and on no state of a generator: a search
    that is told the same again goes on with the same points.
    """

    def __init__(self, sweep: Sweep, space: Space, accepts: Callable[[Picks], bool]) -> None:
        self._sweep = sweep
        self._space = space
        self._accepts = accepts
        self._distributions = {each.name: distribution_of(each) for each in space.dimensions}
        self._seed = 0 if isinstance(sweep.search, GridSearch) else sweep.search.seed
        self._sobol = _Sobol(self._distributions, mixed_seed(self._seed)) if sweep.search.type == "sobol" else None
        self._number = 0
        self._fixed: Picks = {}
        self._forced: Picks | None = None
        self.picks: dict[str, Any] | None = None

    def begin(self, number: int, fixed: Picks, forced: Picks | None) -> None:
        """Say which trial is next.

        Args:
            number: of the trial, from 0.
            fixed: picks that it must have; the others are drawn.
            forced: all of its picks, chosen in an earlier life.

        """
        self._number, self._fixed, self._forced = number, fixed, forced

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return every dimension: no value is left to be drawn on its own."""
        return self._distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the values of the active dimensions; none where no point is left."""
        kind = self._sweep.search.type
        if self._forced is None:
            self.picks = self._drawn(study, trial)
        else:
            if kind == "sobol":
                self._drawn(study, trial)  # the sequence moves on as it did
            elif kind == "cmaes":
                self._draw(self._sampler(0), study, trial, {})  # notes in the trial which generation it belongs to
            self.picks = dict(self._forced)
        if self.picks is None:
            return {}
        return {each.name: drawn_of(each, self.picks[each.name]) for each in self._space.active(self.picks)}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw nothing: all values are drawn together."""
        raise AssertionError(param_name)

    def _drawn(self, study: Study, trial: FrozenTrial) -> dict[str, Any] | None:
        few = self._space.bound is not None and self._space.bound <= COUNTED
        draws = DRAWS_FEW if few else DRAWS
        for redraw in range(draws):
            # a point to try first that was had before gives way to a new one
            fixed = self._fixed if redraw < draws // 2 else {}
            picks = self._draw(self._sampler(redraw), study, trial, fixed)
            if self._accepts(picks):
                return picks
        return self._left_over() if few else None

    def _left_over(self) -> dict[str, Any] | None:
        """Take the next new point of a small space, from a place drawn by the seed on."""
        bound = self._space.bound or 1
        start = random.Random(mixed_seed(self._seed, self._number)).randrange(bound)  # noqa: S311 - no secret
        points = chain(islice(self._space.grid(), start, None), islice(self._space.grid(), start))
        return next((picks for picks in points if self._accepts(picks)), None)

    def _draw(self, sampler: BaseSampler, study: Study, trial: FrozenTrial, fixed: Picks) -> dict[str, Any]:
        together = sampler.sample_relative(study, trial, sampler.infer_relative_search_space(study, trial))
        picks: dict[str, Any] = {}
        for each in self._space.dimensions:
            if not all(picks.get(name) == index for name, index in each.when):
                continue
            if each.name in fixed:
                picks[each.name] = fixed[each.name]
            elif each.name in together:
                picks[each.name] = pick_of(each, together[each.name])
            else:
                distribution = self._distributions[each.name]
                picks[each.name] = pick_of(each, sampler.sample_independent(study, trial, each.name, distribution))
        return picks

    def _sampler(self, redraw: int) -> BaseSampler:
        """Make the sampler of one draw anew: its seed is all that it brings along."""
        if self._sobol:
            return self._sobol
        seed = mixed_seed(self._seed, self._number, redraw)
        kind = self._sweep.search.type
        if redraw >= MODEL_DRAWS.get(kind, 0):
            return RandomSampler(seed=seed)
        if kind == "tpe":
            together = self._sweep.parallel != 1
            return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=together)
        if kind == "cmaes":
            return CmaEsSampler(seed=seed, warn_independent_sampling=False, consider_pruned_trials=True)
        return GPSampler(seed=seed, warn_independent_sampling=False)


class _Sobol(QMCSampler):
    """A scrambled sequence over every dimension, from the first trial on, whichever of them a trial has."""

    def __init__(self, distributions: Mapping[str, BaseDistribution], seed: int) -> None:
        super().__init__(qmc_type="sobol", scramble=True, seed=seed, warn_independent_sampling=False)
        self._every = dict(distributions)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._every
