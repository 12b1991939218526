"""Population based training as a sweep's scheduler: trials meet, and the worst go on as changed copies of others."""

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import PopulationBasedTraining, TrialScheduler

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController

EPOCH = "epoch"
"""The time of a result."""


class Seen:
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
class Meetings:
    """When trials meet."""

    every: int
    """Epochs between two meetings."""
    after: int
    """The first meeting is after this epoch, to which a trial has come in an earlier life of the sweep."""
    seed: int


class Exchange(TrialScheduler):  # type: ignore[misc] # Ray's classes have no types
    """Lets Tune's own scheduler compare all trials at the same epoch, with the same dice each time.

    Args:
        inner: who decides, synchronously: what is chosen does not depend on who comes first.
        meetings: when.
        number: what a trial's config says of which trial it is.
        exchanged: called with a trial that is to go on from another; gives it a config of its own.

    """

    def __init__(
        self,
        inner: PopulationBasedTraining,
        meetings: Meetings,
        number: Callable[[TuneTrial], int],
        exchanged: Callable[[TuneTrial], None],
    ) -> None:
        super().__init__()
        self._inner = inner
        self._meetings = meetings
        self._base = meetings.after - meetings.after % meetings.every
        self._number = number
        self._exchanged = exchanged
        self._last: dict[TuneTrial, dict[str, Any]] = {}

    def on_trial_add(self, tune_controller: "TuneController", trial: TuneTrial) -> None:
        """Take in a new trial."""
        self._inner.on_trial_add(Seen(tune_controller), trial)

    def on_trial_result(self, tune_controller: "TuneController", trial: TuneTrial, result: dict[str, Any]) -> str:
        """Decide about a trial that comes to a meeting."""
        epoch = result[EPOCH] - self._base
        if epoch <= 0 or epoch % self._meetings.every:
            return str(TrialScheduler.CONTINUE)
        return self._meet(tune_controller, trial, {**result, EPOCH: epoch})

    def choose_trial_to_run(self, tune_controller: "TuneController") -> "TuneTrial | None":
        """Pick the trial that runs next; where all wait for one that has ended, they meet without it."""
        chosen: TuneTrial | None = self._inner.choose_trial_to_run(tune_controller)
        if chosen is None and (waiting := waiting_in_vain(tune_controller)) in self._last:
            self._meet(tune_controller, waiting, self._last[waiting])
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

    def _meet(self, tune_controller: "TuneController", trial: TuneTrial, result: dict[str, Any]) -> str:
        self._last[trial] = result
        with warnings.catch_warnings(), seeded(f"{self._meetings.seed} {self._base + result[EPOCH]}"):
            warnings.filterwarnings("ignore", module="sklearn")  # a model of a few points need not be a good fit
            decision = str(self._inner.on_trial_result(Seen(tune_controller), trial, result))
        for other in tune_controller.get_trials():
            if other.config["number"] != self._number(other):  # Tune has copied the whole config of another
                self._exchanged(other)
        return decision


def waiting_in_vain(tune_controller: "TuneController") -> "TuneTrial | None":
    """Return the first of the trials that wait, where none is left that they could wait for."""
    trials = tune_controller.get_trials()
    if any(trial.status in (TuneTrial.RUNNING, TuneTrial.PENDING) for trial in trials):
        return None
    return next((trial for trial in trials if trial.status == TuneTrial.PAUSED), None)


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
