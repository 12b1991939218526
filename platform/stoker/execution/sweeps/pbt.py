"""Population based training as a sweep's scheduler: trials meet, and the worst go on as changed copies of others."""

import math
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import PopulationBasedTraining, TrialScheduler

from stoker.execution.sweeps.batched_scheduler import EPOCH, SCORE, stalled_trial
from stoker.job.section import span_epochs
from stoker.job.sweep import Pb2, Pbt
from stoker.jobfile.space.dimension import Dimension, Options, Range
from stoker.jobfile.space.space import Picks, Space

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController


class ControllerView:
    """Tune as its scheduler is to see it."""

    search_alg = None
    """It wants none; ours only draws."""

    def __init__(self, tune_controller: "TuneController") -> None:
        self._tune = tune_controller
        self.get_trials = tune_controller.get_trials
        self.pause_trial = tune_controller.pause_trial
        self._schedule_trial_save = tune_controller._schedule_trial_save

    def get_live_trials(self) -> set[TuneTrial]:
        """Return those that others may wait for: Tune also counts the ones that have failed."""
        return {trial for trial in self._tune.get_live_trials() if not trial.is_finished()}


@dataclass(frozen=True)
class SyncSchedule:
    """When trials meet."""

    every: int
    """Epochs between two schedule."""
    after: int
    """The first meeting is after this epoch, to which a trial has come in an earlier life of the sweep."""
    seed: int


class PbtScheduler(TrialScheduler):  # type: ignore[misc] # Ray's classes have no types
    """Lets Tune's own scheduler compare all trials at the same epoch, with the same dice each time.

    Args:
        inner: who decides, synchronously: what is chosen does not depend on who comes first.
        schedule: when.
        number: what a trial's config says of which trial it is.
        on_exploit: called with a trial that is to go on from another; gives it a config of its own.

    """

    def __init__(
        self,
        inner: PopulationBasedTraining,
        schedule: SyncSchedule,
        number: Callable[[TuneTrial], int],
        on_exploit: Callable[[TuneTrial], None],
    ) -> None:
        super().__init__()
        self._inner = inner
        self._schedule = schedule
        self._base = schedule.after - schedule.after % schedule.every
        self._number = number
        self._on_exploit = on_exploit
        self._last: dict[TuneTrial, dict[str, Any]] = {}

    def on_trial_add(self, tune_controller: "TuneController", trial: TuneTrial) -> None:
        """Take in a new trial."""
        self._inner.on_trial_add(ControllerView(tune_controller), trial)

    def on_trial_result(self, tune_controller: "TuneController", trial: TuneTrial, result: dict[str, Any]) -> str:
        """Decide about a trial that comes to a meeting."""
        epoch = result[EPOCH] - self._base
        if epoch <= 0 or epoch % self._schedule.every:
            return str(TrialScheduler.CONTINUE)
        return self._synchronize(tune_controller, trial, {**result, EPOCH: epoch})

    def choose_trial_to_run(self, tune_controller: "TuneController") -> "TuneTrial | None":
        """Pick the trial that runs next; where all wait for one that has ended, they meet without it."""
        chosen: TuneTrial | None = self._inner.choose_trial_to_run(tune_controller)
        if chosen is None and (waiting := stalled_trial(tune_controller)) in self._last:
            self._synchronize(tune_controller, waiting, self._last[waiting])
            chosen = self._inner.choose_trial_to_run(tune_controller)
        return chosen

    def on_trial_error(self, tune_controller: "TuneController", trial: TuneTrial) -> None:
        """Take out a trial that has failed."""
        self._leave(trial)
        self._inner.on_trial_error(tune_controller, trial)

    def on_trial_complete(self, tune_controller: "TuneController", trial: TuneTrial, result: dict[str, Any]) -> None:
        """Take out a trial that has ended."""
        self._leave(trial)
        self._inner.on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: "TuneController", trial: TuneTrial) -> None:
        """Take out a trial that has not run to its end."""
        self._leave(trial)
        self._inner.on_trial_remove(tune_controller, trial)

    def debug_string(self) -> str:
        """Describe the state in words."""
        return str(self._inner.debug_string())

    def _leave(self, trial: TuneTrial) -> None:
        self._last.pop(trial, None)

    def _synchronize(self, tune_controller: "TuneController", trial: TuneTrial, result: dict[str, Any]) -> str:
        self._last[trial] = result
        with warnings.catch_warnings(), seeded(f"{self._schedule.seed} {self._base + result[EPOCH]}"):
            warnings.filterwarnings("ignore", module="sklearn")  # a model of a few points need not be a good fit
            decision = str(self._inner.on_trial_result(ControllerView(tune_controller), trial, result))
        for other in tune_controller.get_trials():
            if other.config["number"] != self._number(other):  # Tune has copied the whole config of another
                self._on_exploit(other)
        return decision


@contextmanager
def seeded(seed: str) -> Iterator[None]:
    """Seed Python's and NumPy's own generators, from which Tune draws, and leave them as they were."""
    kept, kept_numpy = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(random.getrandbits(32))
    try:
        yield
    finally:
        random.setstate(kept)
        np.random.set_state(kept_numpy)


TunePoint = dict[str, Any]
"""A point as Tune sees it, by name of each dimension: a number, or the index of an option."""


@dataclass(frozen=True)
class PbtSpace:
    """The changes of a sweep's trials.

    Args:
        space: all of its dimensions can change in mid-run.
        logarithms: whether Tune sees the logarithms of ranges over orders of magnitude, as a model of them needs.

    """

    space: Space
    logarithms: bool

    def to_tune(self, picks: Picks) -> TunePoint:
        """Show a point to Tune."""
        return {each.name: self._encode(each, picks[each.name]) for each in self.space.dimensions}

    def from_tune(self, place: Mapping[str, Any]) -> dict[str, Any]:
        """Return the point that Tune has come to, or the nearest one in the space."""
        return {each.name: self._decode(each, place[each.name]) for each in self.space.dimensions}

    def nearest_valid(self, place: Mapping[str, Any], source: Picks) -> TunePoint:
        """Return where Tune may go: the nearest point in the space, or back where that makes no job.

        Args:
            place: where it wants to go; what else is in it stays.
            source: the point that it comes from.

        """
        picks = self.from_tune(place)
        return {**place, **self.to_tune(picks if self.space.makes_job(picks) else source)}

    def mutations(self) -> dict[str, list[Any] | Callable[[], float]]:
        """Say how each value may be drawn anew: from a list, in which it may also move to a neighbour, or freely."""
        return {each.name: self._mutation(each.domain) for each in self.space.dimensions}

    def bounds(self) -> dict[str, list[float]]:
        """Name the ends of each range as Tune sees them."""
        ends = {}
        for each in self.space.dimensions:
            assert isinstance(each.domain, Range)
            ends[each.name] = [self._encode(each, end) for end in (each.domain.minimum, each.domain.maximum)]
        return ends

    def _mutation(self, domain: Range | Options) -> list[Any] | Callable[[], float]:
        if isinstance(domain, Options):
            return sorted(range(len(domain.values)), key=lambda index: float(domain.values[index]))
        if domain.count is not None:
            return list(domain.points())
        low, high = domain.minimum, domain.maximum
        if domain.log:
            return lambda: min(max(math.exp(random.uniform(math.log(low), math.log(high))), low), high)  # noqa: S311 - no secret
        return lambda: random.uniform(low, high)  # noqa: S311 - no secret

    def _encode(self, each: Dimension, pick: Any) -> Any:
        if isinstance(each.domain, Options) or each.domain.count is not None:
            return pick
        return math.log(pick) if self.logarithms and each.domain.log else float(pick)

    def _decode(self, each: Dimension, value: Any) -> Any:
        if isinstance(each.domain, Options):
            return min(max(int(value), 0), len(each.domain.values) - 1)
        domain = each.domain
        if domain.count is not None:
            return domain.at(min(max(domain.index(value), 0), domain.count - 1))
        number = math.exp(value) if self.logarithms and domain.log else float(value)
        return min(max(number, domain.minimum), domain.maximum)


def build_pbt(
    settings: Pbt | Pb2, mode: str, pbt_space: PbtSpace, picks_of: Callable[[int], Picks]
) -> PopulationBasedTraining:
    """Make the scheduler that lets bad trials go on from good ones.

    Args:
        settings: of the sweep.
        mode: `max` or `min`: which way the score is better.
        pbt_space: how values may change.
        picks_of: the values of a trial, by its number.

    """

    def settle(config: Mapping[str, Any]) -> dict[str, Any]:
        return pbt_space.nearest_valid(config, picks_of(config["number"]))

    common: dict[str, Any] = {
        "time_attr": EPOCH,
        "metric": SCORE,
        "mode": mode,
        "perturbation_interval": span_epochs(settings.every) or 1,
        "quantile_fraction": settings.quantile,
        "custom_explore_fn": settle,
        "log_config": False,
        "synch": True,
    }
    if isinstance(settings, Pbt):
        return PopulationBasedTraining(
            **common, hyperparam_mutations=pbt_space.mutations(), resample_probability=settings.resample
        )
    from ray.tune.schedulers.pb2 import PB2

    return PB2(**common, hyperparam_bounds=pbt_space.bounds())
