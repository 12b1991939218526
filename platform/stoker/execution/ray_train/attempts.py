"""Attempts of a training function of the user, by Ray Train."""

import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError
from ray.train import (
    CheckpointConfig,
    ControllerError,
    FailureConfig,
    LoggingConfig,
    RunConfig,
    ScalingConfig,
    TrainingFailedError,
    WorkerGroupError,
)
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2._internal.execution.controller import TrainController
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from stoker.errors import Cause
from stoker.execution.attempts import Watch, worker_node
from stoker.execution.oom_detection import cause_of_death, death_message, oom_kill_count
from stoker.execution.own_code.system_relay import RelayedSamples
from stoker.execution.ray_train.environment import set_variables
from stoker.execution.ray_train.function import FunctionFailed, Order, run_function
from stoker.execution.ray_train.ray_storage import ray_storage
from stoker.execution.ray_train.reports import POSITION, Position, Reports, read_position
from stoker.execution.ray_train.snapshot import NAME, reports_before
from stoker.execution.resolved_job import write_resolved
from stoker.execution.run_store import run_storage
from stoker.execution.stop_requests import StopReason
from stoker.execution.supervisor import attempt_result
from stoker.execution.worker_folder import pack
from stoker.execution.worker_group import wait_until_placed
from stoker.execution.worker_result import WorkerResult
from stoker.job.own_code import CodeJob
from stoker.tracking.journal import read_journal
from stoker.tracking.run_folder import RunFolder

COLLECTIVE_S = 600
POLL_S = 0.2
SAMPLES_EVERY_S = 2.0
"""Of the workers' system metrics."""
CHECKPOINT_WAIT_S = 300.0
"""How long a pause waits for the next checkpoint."""


class StoppableTrainer(TorchTrainer):  # type: ignore[misc]  # Ray's classes have no types
    """A trainer whose controller can be told to stop, and which runs in any thread."""

    controller: Any = None
    variables: Mapping[str, str] = MappingProxyType({})
    """Environment variables that the controller does not inherit; with any, Ray starts a process for it alone."""

    def _initialize_and_run_controller(self, **parts: Any) -> Any:
        """Run the controller on this node as Ray does it, and keep it; the driver has its own handler of SIGINT."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options: dict[str, Any] = {"scheduling_strategy": here}
        if self.variables:
            options["runtime_env"] = {"env_vars": dict(self.variables)}
        self.controller = ray.remote(num_cpus=0, **options)(TrainController).remote(**parts)
        ray.get(self.controller.run.remote())
        return ray.get(self.controller.get_result.remote())

    def abort(self) -> bool:
        """End the workers and the controller; `fit` then raises RayActorError. Return False before there is one."""
        if self.controller is None:
            return False
        self.controller.abort.remote()
        return True


class RayTrainAttempts:
    """Attempts of a training function by Ray Train; `Attempts`.

    Args:
        job: of the run.
        shared_disk: whether the workers see the driver's files; otherwise files are sent to them.
        cpus: Ray CPUs of each worker.
        checkpoint_wait_s: how long a pause waits for the next checkpoint.

    """

    def __init__(
        self, job: CodeJob, shared_disk: bool, cpus: int = 1, checkpoint_wait_s: float = CHECKPOINT_WAIT_S
    ) -> None:
        self._checkpoint_wait_s = checkpoint_wait_s
        self._job = job
        self._shared_disk = shared_disk
        self._cpus = float(cpus)
        self.count, self.waits = job.resources.most_workers, not shared_disk
        self.wanted = f"{self.count} worker{'s' if self.count > 1 else ''}"
        self._variables = set_variables(embedded=shared_disk)

    def wait_for_resources(self, stopped: Callable[[], bool]) -> bool:
        """Wait until Ray has room for all workers; return False if stopped before.

        Ray Train waits, too, but says nothing of it: an attempt would begin long before its workers.
        """
        place = placement_group([self._each()] * self.count, strategy="PACK")
        try:
            return wait_until_placed(place, stopped)
        finally:
            remove_placement_group(place)

    def renew(self, stopped: Callable[[], bool]) -> None:
        """Do nothing: each attempt has new workers."""

    def run(self, folder: RunFolder, number: int, watch: Watch) -> WorkerResult:
        """Train from Ray's newest checkpoint on."""
        if not folder.resolved.exists():
            write_resolved(folder.resolved, self._job, "")
        header = folder.header()
        storage = run_storage(folder, header, header.id)
        first = reports_before(storage)
        (folder.path / POSITION).unlink(missing_ok=True)
        watch.started(str(self.count) if self.count > 1 else "")
        root = storage.url(NAME).removesuffix(f"/{NAME}")
        path, file_system = ray_storage(root)
        order = Order(folder.path, None if self._shared_disk else pack(folder), number)
        trainer = StoppableTrainer(
            run_function,
            train_loop_config=order,
            torch_config=TorchConfig(timeout_s=COLLECTIVE_S),
            scaling_config=self._scaling(),
            run_config=RunConfig(
                name=NAME,
                storage_path=path,
                storage_filesystem=file_system,
                checkpoint_config=CheckpointConfig(num_to_keep=2),
                failure_config=FailureConfig(max_failures=0, controller_failure_limit=0),
                callbacks=[Reports(folder.path, first, number, "" if self._shared_disk else root)],
                logging_config=LoggingConfig(log_level="WARNING"),
            ),
        )
        if not self._shared_disk:
            trainer.variables = self._variables
        kills = oom_kill_count()
        follower = _Follower(trainer, folder, watch, Position(first, first), self.count, self._checkpoint_wait_s)
        follower.start()
        try:
            trainer.fit()
            result = WorkerResult("succeeded")
        except (TrainingFailedError, RayError) as error:
            result = WorkerResult("stopped") if follower.stopped else result_of(error, kills)
        finally:
            follower.stop()
        position = follower.position
        return replace(
            result,
            step=position.reports,
            began=True,
            checkpoint=(position.checkpoint, position.checkpoint),
            metrics=position.metrics if result.outcome == "succeeded" else {},
            best_step=position.reports,
        )

    def _scaling(self) -> ScalingConfig:
        each = self._each()
        return ScalingConfig(num_workers=self.count, use_gpu="GPU" in each, resources_per_worker=each)

    def _each(self) -> dict[str, float]:
        """Return the Ray resources of a worker."""
        gpus = self._job.resources.gpus
        if gpus is None:
            gpus = min(1, int(ray.cluster_resources().get("GPU", 0)) // self.count)
        return {"CPU": self._cpus, "GPU": float(gpus)} if gpus else {"CPU": self._cpus}


class _Follower(threading.Thread):
    """Follows the reports of an attempt, and stops it when the driver says so."""

    def __init__(
        self,
        trainer: StoppableTrainer,
        folder: RunFolder,
        watch: Watch,
        first: Position,
        workers: int,
        checkpoint_wait_s: float,
    ) -> None:
        self._checkpoint_wait_s = checkpoint_wait_s
        super().__init__(name="follower", daemon=True)
        self._trainer = trainer
        self._folder = folder
        self._watch = watch
        self._first = first
        self._over = threading.Event()
        self._printed = folder.journal.stat().st_size if folder.journal.exists() else 0
        """How much of the journal is in the log."""
        self._noted = 0
        self._workers = workers
        self._samples = RelayedSamples(folder.path.name, workers)
        self._sampled = 0.0
        self.stopped = False
        """Whether the attempt was told to stop."""

    @property
    def position(self) -> Position:
        """Return how far the reports are."""
        found = read_position(self._folder)
        return found if found.reports else self._first

    def run(self) -> None:
        """Follow until the attempt is over."""
        asked, checkpoint = float("inf"), self._first.checkpoint
        while not self._over.wait(POLL_S):
            self._print_news()
            if time.monotonic() > self._sampled + SAMPLES_EVERY_S:
                self._pass_samples()
            newest = self.position.checkpoint
            if newest != checkpoint:
                checkpoint = newest
                self._watch.checkpoint((newest, newest))
                if asked < float("inf"):
                    self._abort()
            reason = self._watch.stop()
            if reason is None:
                continue
            asked = min(asked, time.monotonic())
            waits = reason in (StopReason.PAUSE, StopReason.TIMEOUT)
            if not waits or time.monotonic() > asked + self._checkpoint_wait_s:
                self._abort()

    def stop(self) -> None:
        """End the thread."""
        self._over.set()
        self.join()
        self._print_news()
        self._pass_samples()

    def _print_news(self) -> None:
        """Print the reports since the last time, and the notes about them, to the run's log."""
        for entry, after in read_journal(self._folder.journal, self._printed):
            shown = "  ".join(f"{name} {value:.4g}" for name, value in sorted(entry.metrics.items()))
            print(f"report {entry.step:,}  {shown}", file=sys.stderr)  # noqa: T201 - the run's log
            self._printed = after
        for note in self.position.notes[self._noted :]:
            print(note, file=sys.stderr)  # noqa: T201 - the run's log
            self._noted += 1

    def _pass_samples(self) -> None:
        self._sampled = time.monotonic()
        for rank, sample in self._samples.new():
            self._watch.system(worker_node(rank, self._workers), sample)

    def _abort(self) -> None:
        self.stopped = self.stopped or self._trainer.abort()


def result_of(error: Exception, kills: int) -> WorkerResult:
    """Return the result of an attempt that Ray Train has ended.

    Args:
        error: that `fit` has raised.
        kills: `oom_kill_count` at the start of the attempt.

    """
    match error:
        case WorkerGroupError():
            return _worst(error.worker_failures, kills)
        case ControllerError():
            failure = error.controller_failure
            name = type(failure).__name__
            cause = Cause.INFRASTRUCTURE if name.startswith("WorkerGroupStartup") else Cause.INTERNAL
            return WorkerResult("failed", cause, f"Ray Train: {name}: {failure}", str(error))
        case RayActorError():
            message = death_message("Ray Train's controller", found := cause_of_death(error, kills))
            return WorkerResult("failed", found, message, died=True)
    return WorkerResult("failed", Cause.INFRASTRUCTURE, f"Ray Train: {error}", str(error))


def _worst(failures: Mapping[int, Exception], kills: int) -> WorkerResult:
    """Return the failure that caused those of the other workers."""
    results = {rank: _result(rank, error, kills) for rank, error in sorted(failures.items())}
    return attempt_result({0: next(iter(results.values())), **results})


def _result(rank: int, error: Exception, kills: int) -> WorkerResult:
    if isinstance(error, FunctionFailed):
        return error.result
    lost = getattr(error, "health_check_failure", error)  # Ray Train wraps what it hears of a dead process
    if isinstance(lost, RayError):
        cause = cause_of_death(lost, kills)
        return WorkerResult("failed", cause, death_message(f"worker {rank}", cause), died=True)
    first_line = str(error).strip().partition("\n")[0]
    message = f"worker {rank}: Ray Train: {type(error).__name__}: {first_line}"
    return WorkerResult("failed", Cause.INFRASTRUCTURE, message, str(error))
