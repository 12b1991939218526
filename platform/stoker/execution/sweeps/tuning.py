"""Ray Tune's run of a sweep: starts trials in actors, consults the scheduler, and records how trials end."""

import logging
import math
import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from stoker.errors import Cause, Unreachable
from stoker.execution.oom_detection import cause_of_death, death_message, oom_kill_count
from stoker.execution.stop_requests import StopRequests
from stoker.execution.sweeps.batched_scheduler import BatchedScheduler
from stoker.execution.sweeps.pbt import PbtScheduler, PbtSpace, SyncSchedule, build_pbt
from stoker.execution.sweeps.schedulers import build_scheduler
from stoker.execution.sweeps.stop_signal import StopSignal
from stoker.execution.sweeps.trial_actor import STOP_FILE, TrialActor, TrialPlan, TrialUpdate
from stoker.execution.sweeps.trials import Trials
from stoker.execution.worker_folder import pack
from stoker.execution.worker_result import WorkerResult
from stoker.job.own_code import AnyJob, is_function
from stoker.job.section import span_epochs
from stoker.job.sweep import Hyperband, Pb2, Pbt, RandomSearch, SobolSearch
from stoker.jobfile.space.reading import read_space
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.trials import EpochReport

os.environ.update(
    TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",  # Stoker has its own record
    TUNE_DISABLE_AUTO_CALLBACK_SYNCER="1",
    TUNE_DISABLE_SIGINT_HANDLER="1",
    TUNE_DISABLE_STRICT_METRIC_CHECKING="1",
    TUNE_GLOBAL_CHECKPOINT_S="1000000000",  # sweeps are restored from that record, too
    TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S="1000000000",
    TUNE_PRINT_ALL_TRIAL_ERRORS="0",
    RAY_AIR_NEW_OUTPUT="0",
    RAY_CHDIR_TO_TRIAL_DIR="0",
)

from ray import ObjectRef, tune
from ray.tune import Callback, PlacementGroupFactory, Stopper
from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

ENV_VARS_TO_PROPAGATE.difference_update({name for name in ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")})
"""Processes have their credentials already; Tune would copy them into descriptions that all users of the Ray cluster
can read."""
logging.getLogger("ray.tune").setLevel(logging.ERROR)  # it warns about files that are disabled above

BESIDE_DRIVER = "node:__internal_head__"
"""Ray's own resource of its head node."""
Logged = Callable[[int, bool], tuple[EpochReport, ...]]
START_S = 30.0
"""Longer than the start of a trial's process takes if Ray has resources for it."""
SIGNAL_EVERY_S = 0.5
STOPPING_S = 300.0
"""How long trials may take to save a checkpoint after a stop request; one may be in a long evaluation."""


class Tuning(Stopper, Callback):  # type: ignore[misc] # Ray's classes have no types
    """Runs the trials of a sweep under Ray Tune, from this driver's start to its end.

    Args:
        folder: of the sweep.
        job: resolved.
        trials: of the sweep.
        requests: stop requests of the sweep.
        parallel: number of concurrent trials.
        exhausted: returns whether the sweep's time or number of failures is exhausted.
        on_change: called when the sweep's progress has changed.
        on_waiting: called with True when Ray has no resources for any trial, and with False when it has again.
        logged: returns what a trial has logged to MLflow instead of reporting it, given its number and whether it has
            ended; None for trials that report.

    """

    def __init__(
        self,
        folder: RunFolder,
        job: AnyJob,
        trials: Trials,
        requests: StopRequests,
        parallel: int,
        exhausted: Callable[[], bool],
        on_change: Callable[[], None],
        on_waiting: Callable[[bool], None],
        logged: Logged | None = None,
    ) -> None:
        self._logged = logged
        self._is_function = is_function(job)
        self._folder = folder
        self._job = job
        self._trials = trials
        self._requests = requests
        self._parallel = parallel
        self._exhausted = exhausted
        self._on_change = on_change
        self._on_waiting = on_waiting
        self._waiting, self._trained = False, time.monotonic()
        """Whether Ray has no resources for any trial, and when it last had."""
        self._numbers: dict[str, int] = {}
        """Stoker's numbers of Tune's trials."""
        self._live: set[str] = set()
        self._results: dict[str, WorkerResult] = {}
        """Outcomes that trials reported."""
        self._new_scores: dict[str, list[tuple[int, float]]] = {}
        """Scores that the scheduler has not seen yet."""
        self._begun: dict[str, TuneTrial] = {}
        """Live trials that have started a process."""
        assert job.sweep is not None
        self._settings = job.sweep.scheduler
        self._synchronous = isinstance(self._settings, (Hyperband, Pbt, Pb2))
        """Whether trials wait for each other."""
        self._pbt_space: PbtSpace | None = None
        if isinstance(self._settings, (Pbt, Pb2)):
            self._pbt_space = PbtSpace(read_space(job), logarithms=isinstance(self._settings, Pb2))
        self._stop_deadline = math.inf
        self._stop_signal: StopSignal | None = None
        """For trials that do not see the driver's files."""
        self._signalled = 0.0
        self._kills = oom_kill_count()
        self._stop_file = folder.path / "trials" / STOP_FILE
        self.stopped = False

    def __getstate__(self) -> dict[str, Any]:
        """Return no state: Tune pickles its objects, but a sweep is restored from its ledger."""
        return {}

    def run(self, plan: TrialPlan, data: "ObjectRef[Any]", session: Path) -> None:
        """Run trials until there are no more, or a request stops the sweep.

        Args:
            plan: settings of all trials.
            data: the dataset, in the object store.
            session: folder for Tune's files.

        """
        assert self._job.sweep is not None
        self._stop_file.parent.mkdir(exist_ok=True)
        self._stop_file.unlink(missing_ok=True)
        self._shared_disk = plan.shared_disk
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(self._parallel)
        worker: dict[str, float] = {"CPU": plan.cpus, **({"GPU": plan.gpus} if plan.gpus else {})}
        bundles = [worker] if plan.in_process else [{}, *[worker] * plan.workers]
        if plan.own_code == "function":  # Ray Train places its workers itself
            bundles = [{BESIDE_DRIVER: 0.001}]
        trainable = tune.with_resources(
            tune.with_parameters(TrialActor, plan=plan, data=[data]), PlacementGroupFactory(bundles)
        )
        ended = [self._trials.known_scores(trial.number) for trial in self._trials.ended]
        scheduler = BatchedScheduler(
            self._scheduler(),
            lambda trial: self._new_scores.pop(trial, []),
            ended,
            lambda trial: self._trials.known_scores(self._numbers[trial]),
            self._refresh,
            self._parallel if self._synchronous or self._is_function else 0,
        )
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=_Points(self), scheduler=scheduler, num_samples=-1, reuse_actors=True
            ),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=str(session),
                verbose=0,
                stop=self,
                callbacks=[self],
                failure_config=tune.FailureConfig(max_failures=self._job.resources.retries),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        with nullcontext() if plan.shared_disk else StopSignal(self._folder.path.name) as self._stop_signal:
            tuner.fit()
        self._stop_file.unlink(missing_ok=True)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the config of the next trial, FINISHED if there are no more, or None for later."""
        if self._stopping():
            return str(Searcher.FINISHED)
        if len(self._live) - self._count(TuneTrial.PAUSED) >= self._parallel + self._trials_ahead():
            return None
        number = None if self._trials.exhausted else self._trials.begin()
        if number is None:
            if self._synchronous and self._live:
                return None  # after FINISHED Tune keeps no processes, not even for paused trials
            return str(Searcher.FINISHED)
        if not self._trials.save():  # its checkpoints must not exist without its ledger entry
            self._trials.requeue(number)
            return None
        self._numbers[trial_id] = number
        self._live.add(trial_id)
        self._on_change()
        return self._config(number)

    def complete(self, trial_id: str, error: bool) -> None:
        """Record the end of a trial."""
        if trial_id not in self._live:
            return
        self._live.discard(trial_id)
        self._begun.pop(trial_id, None)
        number, result = self._numbers[trial_id], self._results.pop(trial_id, None)
        if error:
            result = self._death(trial_id)
        elif result is None and self._stopping():
            result = WorkerResult("stopped")
        self._trials.end(number, result)
        self._on_change()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Record a trial's report; stop no trial. The scheduler does not see a trial's last report."""
        update: TrialUpdate = result["update"]
        number = self._numbers[trial_id]
        if self._logged is not None:
            update = self._with_logged(self._logged, number, update)
        if update.result is not None:
            self._results[trial_id] = update.result
        self._new_scores[trial_id] = self._trials.take(number, update)
        self._on_change()
        return False

    def _with_logged(self, logged: Logged, number: int, update: TrialUpdate) -> TrialUpdate:
        """Return the update of a trial with what it has logged since the last one; a failure where that is lost."""
        result, known = update.result, self._trials.trial(number).epoch
        ended = result is not None and result.outcome == "succeeded"
        try:
            reports = tuple(report for report in logged(number, ended) if report.epoch > known)
        except Unreachable as error:
            assert result is not None
            return replace(update, result=result.failed(Cause.INFRASTRUCTURE, str(error)))
        return replace(update, reports=reports)

    def stop_all(self) -> bool:
        """Return whether Tune must end all trials: they have stopped as requested, or their time to do so is over."""
        stopping = self._stopping()
        if self._stop_signal is not None and time.monotonic() >= self._signalled + SIGNAL_EVERY_S:
            self._signalled = time.monotonic()
            numbers = [self._numbers[trial] for trial in self._begun]
            cancelled = [number for number in numbers if self._folder.trial(number).cancel_request.exists()]
            self._stop_signal.request(stopping, cancelled)
        training = bool(self._count(TuneTrial.RUNNING))
        self._report_waiting(training)
        return stopping and (not training or time.monotonic() > self._stop_deadline)

    def _report_waiting(self, training: bool) -> None:
        """Report when trials have waited longer for a process than its start takes."""
        if training or not self._live:
            self._trained = time.monotonic()
        waiting = time.monotonic() > self._trained + START_S
        if waiting != self._waiting:
            self._waiting = waiting
            self._on_waiting(waiting)

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Record that a trial has a process."""
        self._begun[trial.trial_id] = trial

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Log why a trial is started again."""
        if error := trial.get_error():  # none if its process died
            print(f"trial {self._numbers[trial.trial_id]}: {error}", file=sys.stderr)  # noqa: T201 - the run's log

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Log why a trial is not started again."""
        self.on_trial_recover(iteration, trials, trial)

    def _count(self, status: str) -> int:
        return sum(trial.status == status for trial in self._begun.values())

    def _trials_ahead(self) -> int:
        """Return how many trials to keep waiting for a process.

        Tune reuses a process only if a trial is waiting for it, and trials that are compared with each other must know
        that more will come. The processes of training functions hold no resources: those ahead would train at once.
        """
        if self._is_function:
            return 0
        return self._parallel if self._parallel > 1 or self._synchronous else 0

    def _scheduler(self) -> TrialScheduler:
        assert self._job.sweep is not None
        settings, search, mode = self._settings, self._job.sweep.search, self._trials.aims[0].direction
        if self._pbt_space is None or not isinstance(settings, (Pbt, Pb2)):
            return build_scheduler(self._job, mode)
        inner = build_pbt(settings, mode, self._pbt_space, lambda number: self._trials.trial(number).picks)
        after = max((trial.epoch for trial in self._trials.all if not trial.state.final), default=0)
        seed = search.seed if isinstance(search, (RandomSearch, SobolSearch)) else 0
        schedule = SyncSchedule(span_epochs(settings.every) or 1, after, seed)
        return PbtScheduler(inner, schedule, lambda trial: self._numbers[trial.trial_id], self._exploit)

    def _config(self, number: int) -> dict[str, Any]:
        """Return a trial's config: the input of its process, and for PBT its values."""
        trial, folder = self._trials.trial(number), self._folder.trial(number)
        return {
            "number": number,
            "folder": str(folder.path),
            "files": {} if self._shared_disk else pack(folder),
            "change": len(trial.changes),
            "copy": trial.changes[-1].copy if trial.changes else "",
            **(self._pbt_space.to_tune(trial.picks) if self._pbt_space else {}),
        }

    def _exploit(self, trial: TuneTrial) -> None:
        """Continue a trial from another one, whose changed config Tune has assigned to it."""
        assert self._pbt_space is not None
        picks = self._pbt_space.from_tune(trial.config)
        values, source = self._pbt_space.space.values(picks), trial.config["number"]
        number = self._numbers[trial.trial_id]
        self._trials.change(number, picks, values, source, trial.checkpoint.path)
        trial.set_config(self._config(number))
        self._on_change()

    def _refresh(self, trial: TuneTrial) -> None:
        """Update the config of a trial whose process does not see the driver's files."""
        if not self._shared_disk:
            trial.set_config(self._config(self._numbers[trial.trial_id]))

    def _stopping(self) -> bool:
        """Return whether the sweep is to stop, and signal the trials."""
        if not self.stopped and (self._requests.reason() is not None or self._exhausted()):
            self.stopped = True
            self._stop_deadline = time.monotonic() + STOPPING_S
            self._stop_file.touch()
        return self.stopped

    def _death(self, trial_id: str) -> WorkerResult:
        number = self._numbers[trial_id]
        cause = cause_of_death(RuntimeError(), self._kills)
        message = f"{death_message(f'trial {number}', cause)}, repeatedly"
        return WorkerResult("failed", cause, message, died=True)


class _Points(Searcher):  # type: ignore[misc]
    """The source of trials, as Tune's search algorithm."""

    def __init__(self, tuning: Tuning) -> None:
        super().__init__(metric=None, mode=None)
        self._tuning = tuning

    def __getstate__(self) -> dict[str, Any]:
        """Return no state: Tune pickles its objects, but a sweep is restored from its ledger."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next trial."""
        return self._tuning.suggest(trial_id)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Record the end of a trial."""
        self._tuning.complete(trial_id, error)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the ledger is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the ledger is the state."""
