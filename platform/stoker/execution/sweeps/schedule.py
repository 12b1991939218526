"""A sweep's schedulers: which trials end early, or wait, or go on from others; all of them Ray Tune's."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)

from stoker.execution.sweeps.exchange import EPOCH, waiting_in_vain
from stoker.execution.sweeps.population import Population
from stoker.job.job import Job
from stoker.job.section import span_epochs
from stoker.job.sweep import Asha, Hyperband, MedianStopping, Pb2, Pbt
from stoker.jobfile.space.space import Coordinates

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController

SCORE = "score"
"""What schedulers look at in a result."""
NO_LIMIT = 1_000_000
"""Epochs of a job whose length is a time."""


def build_scheduler(job: Job, mode: str) -> TrialScheduler:
    """Make the scheduler that a sweep's job names.

    Args:
        job: with every default.
        mode: `max` or `min`: which way the score is better.

    """
    assert job.sweep is not None
    settings, epochs = job.sweep.scheduler, job.training.epochs or NO_LIMIT
    common: dict[str, Any] = {"time_attr": EPOCH, "metric": SCORE, "mode": mode}
    match settings:
        case Asha():
            return AsyncHyperBandScheduler(
                **common,
                max_t=epochs,
                grace_period=_epochs(settings.min),
                reduction_factor=settings.reduction,
                stop_last_trials=False,
            )
        case MedianStopping():
            return MedianStoppingRule(
                **common,
                grace_period=_epochs(settings.min),
                min_samples_required=settings.trials,
                min_time_slice=math.inf,  # or trials are paused to let others begin
            )
        case Hyperband():
            return HyperBandScheduler(
                **common, max_t=epochs, reduction_factor=settings.reduction, stop_last_trials=False
            )
    return FIFOScheduler()


def build_exchange(
    settings: Pbt | Pb2, mode: str, population: Population, picks_of: Callable[[int], Coordinates]
) -> PopulationBasedTraining:
    """Make the scheduler that lets bad trials go on from good ones.

    Args:
        settings: of the sweep.
        mode: `max` or `min`: which way the score is better.
        population: how values may change.
        picks_of: the values of a trial, by its number.

    """

    def settle(config: Mapping[str, Any]) -> dict[str, Any]:
        return population.settled(config, picks_of(config["number"]))

    common: dict[str, Any] = {
        "time_attr": EPOCH,
        "metric": SCORE,
        "mode": mode,
        "perturbation_interval": _epochs(settings.every),
        "quantile_fraction": settings.quantile,
        "custom_explore_fn": settle,
        "log_config": False,
        "synch": True,
    }
    if isinstance(settings, Pbt):
        return PopulationBasedTraining(
            **common, hyperparam_mutations=population.mutations(), resample_probability=settings.resample
        )
    from ray.tune.schedulers.pb2 import PB2

    return PB2(**common, hyperparam_bounds=population.bounds())


def decisions(job: Job) -> tuple[int, ...] | None:
    """Tell after which epochs the scheduler may decide; None where it may after each."""
    assert job.sweep is not None
    settings = job.sweep.scheduler
    if settings.type == "none":
        return ()
    if isinstance(settings, Asha):
        rungs, epochs = [], job.training.epochs or NO_LIMIT
        rung = _epochs(settings.min)
        while rung < epochs:
            rungs.append(rung)
            rung *= settings.reduction
        return tuple(rungs)
    if isinstance(settings, (Pbt, Pb2)) and job.training.epochs:
        return tuple(range(_epochs(settings.every), job.training.epochs, _epochs(settings.every)))
    return None


Scores = Sequence[tuple[int, float]]
"""Epochs, each with its score; always finite."""


@dataclass(frozen=True)
class Past:
    """A trial that has ended in an earlier life of the sweep, as far as a scheduler asks for it."""

    trial_id: str


class Telling(TrialScheduler):  # type: ignore[misc] # Ray's classes have no types
    """A scheduler that hears each epoch of what a trial told at once, as if it had been told on its own.

    Args:
        inner: who decides.
        news: what a trial has told since, by Tune's id of it.
        ended: what the trials that ended in an earlier life of the sweep had told.
        begun: what a trial had told that goes on, by Tune's id of it.
        refresh: called with a trial that goes on in another process.
        kept: how many processes stay for trials that wait for others; Tune keeps one at most.

    """

    def __init__(
        self,
        inner: TrialScheduler,
        news: Callable[[str], Scores],
        ended: Sequence[Scores],
        begun: Callable[[str], Scores],
        refresh: Callable[[TuneTrial], None],
        kept: int,
    ) -> None:
        super().__init__()
        self.inner = inner
        self._news = news
        self._ended = list(ended) if isinstance(inner, (AsyncHyperBandScheduler, MedianStoppingRule)) else []
        self._begun = begun
        self._refresh = refresh
        self._kept = kept
        self._last: dict[str, dict[str, Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave nothing to Tune, which pickles all it gets: what a sweep goes on from is its ledger."""
        return {}

    @property
    def metric(self) -> str | None:
        """Tune checks that results have it; ours do."""
        return None

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Take nothing: the inner scheduler has its own."""
        return True

    def on_trial_add(self, tune_controller: "TuneController", trial: "TuneTrial") -> None:
        """Take in a new trial, and what is known from before; what was decided then stays."""
        if self._kept:
            tune_controller._tune_controller._actor_cache.increase_max(trial.placement_group_factory, self._kept)
            self._kept = 0
        for number, scores in enumerate(self._ended):
            past = Past(f"past-{number}")
            self.inner.on_trial_add(tune_controller, past)
            for epoch, score in scores:
                self.inner.on_trial_result(tune_controller, past, _result(past, epoch, score))
        self._ended.clear()
        self.inner.on_trial_add(tune_controller, trial)
        if not isinstance(self.inner, (AsyncHyperBandScheduler, MedianStoppingRule)):
            return
        for epoch, score in self._begun(trial.trial_id):
            self.inner.on_trial_result(tune_controller, trial, _result(trial, epoch, score))

    def on_trial_error(self, tune_controller: "TuneController", trial: "TuneTrial") -> None:
        """Take out a trial that has failed, perhaps to begin again."""
        self.inner.on_trial_error(tune_controller, trial)
        self._refresh(trial)

    def on_trial_result(self, tune_controller: "TuneController", trial: "TuneTrial", result: dict[str, Any]) -> str:
        """Decide about a trial."""
        decision: str = TrialScheduler.CONTINUE
        for epoch, score in self._news(trial.trial_id):
            heard = self._last[trial.trial_id] = _result(trial, epoch, score)
            decision = self.inner.on_trial_result(tune_controller, trial, heard)
            if decision != TrialScheduler.CONTINUE:
                break
        return decision

    def on_trial_complete(self, tune_controller: "TuneController", trial: "TuneTrial", result: dict[str, Any]) -> None:
        """Take out a trial that has ended."""
        self.inner.on_trial_complete(tune_controller, trial, self._last.pop(trial.trial_id, result))

    def on_trial_remove(self, tune_controller: "TuneController", trial: "TuneTrial") -> None:
        """Take out a trial that has not run to its end."""
        self.inner.on_trial_remove(tune_controller, trial)

    def choose_trial_to_run(self, tune_controller: "TuneController", **options: Any) -> "TuneTrial | None":
        """Pick the trial that runs next."""
        chosen: TuneTrial | None = self.inner.choose_trial_to_run(tune_controller, **options)
        chosen = chosen or waiting_in_vain(tune_controller)
        if chosen is not None and chosen.status == TuneTrial.PAUSED:
            self._refresh(chosen)
        return chosen

    def debug_string(self) -> str:
        """Describe the state in words."""
        return str(self.inner.debug_string())


def _result(trial: "TuneTrial | Past", epoch: int, score: float) -> dict[str, Any]:
    return {"training_iteration": epoch, EPOCH: epoch, SCORE: score, "trial_id": trial.trial_id, "time_total_s": 0.0}


def _epochs(span: str) -> int:
    return span_epochs(span) or 1
