"""Ray Tune at work on a sweep: it hands trials to actors, asks the scheduler about each, and says how they end."""

import logging
import math
import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

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
from stoker.job.job import Job
from stoker.job.section import span_epochs
from stoker.job.sweep import Hyperband, Pb2, Pbt, RandomSearch, SobolSearch
from stoker.jobfile.space.reading import read_space
from stoker.tracking.run_folder import RunFolder

os.environ.update(
    TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",  # the record is ours
    TUNE_DISABLE_AUTO_CALLBACK_SYNCER="1",
    TUNE_DISABLE_SIGINT_HANDLER="1",
    TUNE_DISABLE_STRICT_METRIC_CHECKING="1",
    TUNE_GLOBAL_CHECKPOINT_S="1000000000",  # so is what a sweep goes on from
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
"""Each process has its credentials already; Tune would write them into descriptions that all who reach Ray can read."""
logging.getLogger("ray.tune").setLevel(logging.ERROR)  # it misses the files that it did not write

BEGINS_S = 30.0
"""Longer than a trial's process takes to begin where there is room for it."""
ASK_EVERY_S = 0.5
STOPPING_S = 300.0
"""Trials that were asked to stop have so long to save a checkpoint; one of them may be in a long evaluation."""


class Tuning(Stopper, Callback):  # type: ignore[misc] # Ray's classes have no types
    """One life of a sweep under Tune.

    Args:
        folder: of the sweep.
        job: with every default.
        trials: what there is and what comes next.
        requests: what somebody wants of the sweep.
        parallel: how many trials train at once.
        over: whether the sweep's own limits are reached: time, failures.
        changed: called when something has changed that people see.
        waits: told when Ray has room for no trial any more, and when it has again.

    """

    def __init__(
        self,
        folder: RunFolder,
        job: Job,
        trials: Trials,
        requests: StopRequests,
        parallel: int,
        over: Callable[[], bool],
        changed: Callable[[], None],
        waits: Callable[[bool], None],
    ) -> None:
        self._folder = folder
        self._job = job
        self._trials = trials
        self._requests = requests
        self._parallel = parallel
        self._over = over
        self._changed = changed
        self._waits = waits
        self._waiting, self._trained = False, time.monotonic()
        """Whether Ray has room for none, and when it last had."""
        self._numbers: dict[str, int] = {}
        """Our numbers of Tune's trials."""
        self._live: set[str] = set()
        self._results: dict[str, WorkerResult] = {}
        """How trials said that they ended."""
        self._news: dict[str, list[tuple[int, float]]] = {}
        """What the scheduler is still to hear."""
        self._begun: dict[str, TuneTrial] = {}
        """Of the live ones, those that have had a process."""
        assert job.sweep is not None
        self._settings = job.sweep.scheduler
        self._together = isinstance(self._settings, (Hyperband, Pbt, Pb2))
        """Whether trials wait for each other."""
        self._pbt_space: PbtSpace | None = None
        if isinstance(self._settings, (Pbt, Pb2)):
            self._pbt_space = PbtSpace(read_space(job), logarithms=isinstance(self._settings, Pb2))
        self._stop_deadline = math.inf
        self._stop_signal: StopSignal | None = None
        """To trials that do not see the driver's files."""
        self._asked = 0.0
        self._kills = oom_kill_count()
        self._stop_file = folder.path / "trials" / STOP_FILE
        self.stopped = False

    def __getstate__(self) -> dict[str, Any]:
        """Leave nothing to Tune, which pickles all it gets: what a sweep goes on from is its ledger."""
        return {}

    def run(self, plan: TrialPlan, data: "ObjectRef[Any]", session: Path) -> None:
        """Let trials train until there are no more, or somebody stops the sweep.

        Args:
            plan: what is the same for all trials.
            data: the dataset, in the object store.
            session: a folder for what Tune writes.

        """
        assert self._job.sweep is not None
        self._stop_file.parent.mkdir(exist_ok=True)
        self._stop_file.unlink(missing_ok=True)
        self._shared_disk = plan.shared_disk
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(self._parallel)
        worker: dict[str, float] = {"CPU": plan.cpus, **({"GPU": plan.gpus} if plan.gpus else {})}
        bundles = [worker] if plan.workers == 1 else [{}, *[worker] * plan.workers]
        trainable = tune.with_resources(
            tune.with_parameters(TrialActor, plan=plan, data=[data]), PlacementGroupFactory(bundles)
        )
        ended = [self._trials.known_scores(trial.number) for trial in self._trials.ended]
        scheduler = BatchedScheduler(
            self._scheduler(),
            lambda trial: self._news.pop(trial, []),
            ended,
            lambda trial: self._trials.known_scores(self._numbers[trial]),
            self._refresh,
            self._parallel if self._together else 0,
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
        """Hand out the next trial: a config, the word that there is none, or None for later."""
        if self._stopping():
            return str(Searcher.FINISHED)
        if len(self._live) - self._count(TuneTrial.PAUSED) >= self._parallel + self._ahead():
            return None
        number = None if self._trials.exhausted else self._trials.begin()
        if number is None:
            if self._together and self._live:
                return None  # after the last one Tune keeps no processes, not even for trials that wait
            return str(Searcher.FINISHED)
        if not self._trials.secure():  # its checkpoints must not outlive what is known of it
            self._trials.put_back(number)
            return None
        self._numbers[trial_id] = number
        self._live.add(trial_id)
        self._changed()
        return self._config(number)

    def complete(self, trial_id: str, error: bool) -> None:
        """Take in the end of a trial, in Tune's eyes."""
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
        self._changed()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Take in what a trial has told, of which the scheduler does not hear the last; stop none."""
        told: TrialUpdate = result["told"]
        if told.result is not None:
            self._results[trial_id] = told.result
        self._news[trial_id] = self._trials.take(self._numbers[trial_id], told)
        self._changed()
        return False

    def stop_all(self) -> bool:
        """Tell Tune whether all is to end at once: those that were asked to stop have, or have had their time."""
        stopping = self._stopping()
        if self._stop_signal is not None and time.monotonic() >= self._asked + ASK_EVERY_S:
            self._asked = time.monotonic()
            numbers = [self._numbers[trial] for trial in self._begun]
            cancelled = [number for number in numbers if self._folder.trial(number).cancel_request.exists()]
            self._stop_signal.request(stopping, cancelled)
        training = bool(self._count(TuneTrial.RUNNING))
        self._look_for_room(training)
        return stopping and (not training or time.monotonic() > self._stop_deadline)

    def _look_for_room(self, training: bool) -> None:
        """Tell when trials have waited for a process for longer than one takes to begin."""
        if training or not self._live:
            self._trained = time.monotonic()
        waiting = time.monotonic() > self._trained + BEGINS_S
        if waiting != self._waiting:
            self._waiting = waiting
            self._waits(waiting)

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Hear that a trial has a process."""
        self._begun[trial.trial_id] = trial

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Hear that a trial begins again after something that it could not mend itself."""
        if error := trial.get_error():  # of a process that has died there is none
            print(f"trial {self._numbers[trial.trial_id]}: {error}", file=sys.stderr)  # noqa: T201 - the run's log

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Hear that a trial does not begin again."""
        self.on_trial_recover(iteration, trials, trial)

    def _count(self, status: str) -> int:
        return sum(trial.status == status for trial in self._begun.values())

    def _ahead(self) -> int:
        """Tell how many trials are to wait for a process.

        Tune keeps a process only where a trial waits for it, and trials that are compared together must know that there
        will be more of them.
        """
        return self._parallel if self._parallel > 1 or self._together else 0

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
        """Say what the process of a trial must know, and for trials that change what Tune must."""
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
        """Let a trial go on from another, whose config Tune has given it, changed."""
        assert self._pbt_space is not None
        picks = self._pbt_space.from_tune(trial.config)
        values, source = self._pbt_space.space.values(picks), trial.config["number"]
        number = self._numbers[trial.trial_id]
        self._trials.change(number, picks, values, source, trial.checkpoint.path)
        trial.set_config(self._config(number))
        self._changed()

    def _refresh(self, trial: TuneTrial) -> None:
        """Let a process that does not see the driver's files begin with what they are by now."""
        if not self._shared_disk:
            trial.set_config(self._config(self._numbers[trial.trial_id]))

    def _stopping(self) -> bool:
        """Tell whether the sweep is to stop, and let the trials know."""
        if not self.stopped and (self._requests.reason() is not None or self._over()):
            self.stopped = True
            self._stop_deadline = time.monotonic() + STOPPING_S
            self._stop_file.touch()
        return self.stopped

    def _death(self, trial_id: str) -> WorkerResult:
        number = self._numbers[trial_id]
        cause = cause_of_death(RuntimeError(), self._kills)
        message = f"{death_message(f'trial {number}', cause)}, again and again"
        return WorkerResult("failed", cause, message, died=True)


class _Points(Searcher):  # type: ignore[misc]
    """What Tune asks for trials."""

    def __init__(self, tuning: Tuning) -> None:
        super().__init__(metric=None, mode=None)
        self._tuning = tuning

    def __getstate__(self) -> dict[str, Any]:
        """Leave nothing to Tune, which pickles all it gets: what a sweep goes on from is its ledger."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Hand out the next trial."""
        return self._tuning.suggest(trial_id)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Take in the end of a trial."""
        self._tuning.complete(trial_id, error)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the ledger has it."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the ledger has it."""
