"""Adapter for Ray Tune's schedulers: trials report several epochs at once, schedulers decide after each one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule, TrialScheduler

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController

EPOCH = "epoch"
"""The time attribute of a result."""
SCORE = "score"
"""The metric of a result."""
Scores = Sequence[tuple[int, float]]
"""Epochs with their finite scores."""


@dataclass(frozen=True)
class PastTrial:
    """A trial that ended before the sweep's driver was restarted, as far as schedulers read it."""

    trial_id: str


class BatchedScheduler(TrialScheduler):  # type: ignore[misc] # Ray's classes have no types
    """Passes each epoch of a trial's report to a scheduler, as if it had been reported alone.

    Args:
        inner: the scheduler.
        new_scores: returns a trial's unprocessed scores, by Tune's id.
        ended: scores of the trials that ended before the driver was restarted.
        begun: returns the earlier scores of a trial that continues, by Tune's id.
        refresh: called with a trial that continues in another process.
        waiting_processes: number of processes to keep for waiting trials; Tune keeps one at most.

    """

    def __init__(
        self,
        inner: TrialScheduler,
        new_scores: Callable[[str], Scores],
        ended: Sequence[Scores],
        begun: Callable[[str], Scores],
        refresh: Callable[[TuneTrial], None],
        waiting_processes: int,
    ) -> None:
        super().__init__()
        self.inner = inner
        self._new_scores = new_scores
        self._ended = list(ended) if isinstance(inner, (AsyncHyperBandScheduler, MedianStoppingRule)) else []
        self._begun = begun
        self._refresh = refresh
        self._waiting_processes = waiting_processes
        self._last: dict[str, dict[str, Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return no state: Tune pickles its objects, but a sweep is restored from its ledger."""
        return {}

    @property
    def metric(self) -> str | None:
        """Return None: Tune need not check that results have the metric."""
        return None

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Ignore the search's properties: the inner scheduler has its own."""
        return True

    def on_trial_add(self, tune_controller: "TuneController", trial: "TuneTrial") -> None:
        """Add a trial; replay earlier scores, whose decisions are not repeated."""
        if self._waiting_processes:
            tune_controller._tune_controller._actor_cache.increase_max(
                trial.placement_group_factory, self._waiting_processes
            )
            self._waiting_processes = 0
        for number, scores in enumerate(self._ended):
            past = PastTrial(f"past-{number}")
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
        """Remove a failed trial, which may be started again."""
        self.inner.on_trial_error(tune_controller, trial)
        self._refresh(trial)

    def on_trial_result(self, tune_controller: "TuneController", trial: "TuneTrial", result: dict[str, Any]) -> str:
        """Decide about a trial after a report."""
        decision: str = TrialScheduler.CONTINUE
        for epoch, score in self._new_scores(trial.trial_id):
            seen = self._last[trial.trial_id] = _result(trial, epoch, score)
            decision = self.inner.on_trial_result(tune_controller, trial, seen)
            if decision != TrialScheduler.CONTINUE:
                break
        return decision

    def on_trial_complete(self, tune_controller: "TuneController", trial: "TuneTrial", result: dict[str, Any]) -> None:
        """Remove a completed trial."""
        self.inner.on_trial_complete(tune_controller, trial, self._last.pop(trial.trial_id, result))

    def on_trial_remove(self, tune_controller: "TuneController", trial: "TuneTrial") -> None:
        """Remove an incomplete trial."""
        self.inner.on_trial_remove(tune_controller, trial)

    def choose_trial_to_run(self, tune_controller: "TuneController", **options: Any) -> "TuneTrial | None":
        """Choose the trial to run next."""
        chosen: TuneTrial | None = self.inner.choose_trial_to_run(tune_controller, **options)
        chosen = chosen or stalled_trial(tune_controller)
        if chosen is not None and chosen.status == TuneTrial.PAUSED:
            self._refresh(chosen)
        return chosen

    def debug_string(self) -> str:
        """Return a description of the state."""
        return str(self.inner.debug_string())


def _result(trial: "TuneTrial | PastTrial", epoch: int, score: float) -> dict[str, Any]:
    return {"training_iteration": epoch, EPOCH: epoch, SCORE: score, "trial_id": trial.trial_id, "time_total_s": 0.0}


def stalled_trial(tune_controller: "TuneController") -> "TuneTrial | None":
    """Return the first paused trial if no trial runs that it could wait for; None otherwise."""
    trials = tune_controller.get_trials()
    if any(trial.status in (TuneTrial.RUNNING, TuneTrial.PENDING) for trial in trials):
        return None
    return next((trial for trial in trials if trial.status == TuneTrial.PAUSED), None)
