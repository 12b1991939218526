"""Population based training (PBT) and population based bandits (PB2), by Ray Tune's schedulers.

Both decide synchronously: all trials pause at the same epochs, and the worst continue from copies of the best ones'
checkpoints with changed values. Jaderberg et al. 2017 (arXiv:1711.09846), Parker-Holder et al. 2020 (arXiv:2002.02518).
"""

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
from stoker.jobfile.space.space import Coordinates, Space

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController


class ControllerView:
    """Ray Tune's controller as its PBT scheduler sees it."""

    search_alg = None
    """None is needed; the search only draws the first values."""

    def __init__(self, tune_controller: "TuneController") -> None:
        self._tune = tune_controller
        self.get_trials = tune_controller.get_trials
        self.pause_trial = tune_controller.pause_trial
        self._schedule_trial_save = tune_controller._schedule_trial_save

    def get_live_trials(self) -> set[TuneTrial]:
        """Return the trials to wait for; Tune's own list includes failed ones."""
        return {trial for trial in self._tune.get_live_trials() if not trial.is_finished()}


@dataclass(frozen=True)
class SyncSchedule:
    """The epochs at which trials are synchronized."""

    every: int
    """Epochs between two synchronizations."""
    after: int
    """The first synchronization is after this epoch, which the furthest trial reached before a restart."""
    seed: int


class PbtScheduler(TrialScheduler):  # type: ignore[misc] # Ray's classes have no types
    """Runs Tune's PBT scheduler on all trials at the same epochs, with reproducible random numbers.

    Args:
        inner: Tune's scheduler, in synchronous mode: its choice does not depend on the trials' order.
        schedule: when trials are synchronized.
        number: returns a trial's number.
        on_exploit: called with a trial that continues from another one; sets its config.

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
        """Add a trial."""
        self._inner.on_trial_add(ControllerView(tune_controller), trial)

    def on_trial_result(self, tune_controller: "TuneController", trial: TuneTrial, result: dict[str, Any]) -> str:
        """Decide about a trial that has reached a synchronization."""
        epoch = result[EPOCH] - self._base
        if epoch <= 0 or epoch % self._schedule.every:
            return str(TrialScheduler.CONTINUE)
        return self._synchronize(tune_controller, trial, {**result, EPOCH: epoch})

    def choose_trial_to_run(self, tune_controller: "TuneController") -> "TuneTrial | None":
        """Choose the trial to run next; if all wait for one that has ended, synchronize without it."""
        chosen: TuneTrial | None = self._inner.choose_trial_to_run(tune_controller)
        if chosen is None and (waiting := stalled_trial(tune_controller)) in self._last:
            self._synchronize(tune_controller, waiting, self._last[waiting])
            chosen = self._inner.choose_trial_to_run(tune_controller)
        return chosen

    def on_trial_error(self, tune_controller: "TuneController", trial: TuneTrial) -> None:
        """Remove a failed trial."""
        self._leave(trial)
        self._inner.on_trial_error(tune_controller, trial)

    def on_trial_complete(self, tune_controller: "TuneController", trial: TuneTrial, result: dict[str, Any]) -> None:
        """Remove a completed trial."""
        self._leave(trial)
        self._inner.on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: "TuneController", trial: TuneTrial) -> None:
        """Remove an incomplete trial."""
        self._leave(trial)
        self._inner.on_trial_remove(tune_controller, trial)

    def debug_string(self) -> str:
        """Return a description of the state."""
        return str(self._inner.debug_string())

    def _leave(self, trial: TuneTrial) -> None:
        self._last.pop(trial, None)

    def _synchronize(self, tune_controller: "TuneController", trial: TuneTrial, result: dict[str, Any]) -> str:
        self._last[trial] = result
        with warnings.catch_warnings(), seeded(f"{self._schedule.seed} {self._base + result[EPOCH]}"):
            warnings.filterwarnings("ignore", module="sklearn")  # the fit to a few points may be bad
            decision = str(self._inner.on_trial_result(ControllerView(tune_controller), trial, result))
        for other in tune_controller.get_trials():
            if other.config["number"] != self._number(other):  # Tune has copied the other trial's whole config
                self._on_exploit(other)
        return decision


@contextmanager
def seeded(seed: str) -> Iterator[None]:
    """Seed the global generators of Python and NumPy, which Tune uses, and restore them afterwards."""
    kept, kept_numpy = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(random.getrandbits(32))
    try:
        yield
    finally:
        random.setstate(kept)
        np.random.set_state(kept_numpy)


TunePoint = dict[str, Any]
"""A point in Tune's encoding, by dimension: a number, or the index of an option."""


@dataclass(frozen=True)
class PbtSpace:
    """The space in which trials' values change.

    Args:
        space: all of its dimensions can change during training.
        logarithms: whether Tune sees the logarithms of log-scaled ranges, as PB2's Gaussian process needs.

    """

    space: Space
    logarithms: bool

    def to_tune(self, picks: Coordinates) -> TunePoint:
        """Encode a point for Tune."""
        return {each.name: self._encode(each, picks[each.name]) for each in self.space.dimensions}

    def from_tune(self, place: Mapping[str, Any]) -> dict[str, Any]:
        """Decode a point of Tune's; outside the space, return the nearest point in it."""
        return {each.name: self._decode(each, place[each.name]) for each in self.space.dimensions}

    def nearest_valid(self, place: Mapping[str, Any], source: Coordinates) -> TunePoint:
        """Return the nearest valid point to Tune's choice; the source point if that makes no valid job.

        Args:
            place: Tune's choice; other keys are kept.
            source: the point that it was changed from.

        """
        picks = self.from_tune(place)
        return {**place, **self.to_tune(picks if self.space.makes_job(picks) else source)}

    def mutations(self) -> dict[str, list[Any] | Callable[[], float]]:
        """Return how each value is resampled: from a list, in which it may move to a neighbour, or by a function."""
        return {each.name: self._mutation(each.domain) for each in self.space.dimensions}

    def bounds(self) -> dict[str, list[float]]:
        """Return the ends of each range in Tune's encoding."""
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
    settings: Pbt | Pb2, mode: str, pbt_space: PbtSpace, picks_of: Callable[[int], Coordinates]
) -> PopulationBasedTraining:
    """Build Tune's PBT or PB2 scheduler.

    Args:
        settings: of the sweep.
        mode: `max` or `min`, the direction of the score.
        pbt_space: in which values change.
        picks_of: returns a trial's values, by its number.

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
