"""Stoker's own training loop as an engine: load data, train from the newest checkpoint, evaluate, save."""

import os
import sys
from collections.abc import Generator

import ray
import torch

from stoker.architectures.network import parameter_count
from stoker.errors import Cause, TrainingFailed
from stoker.execution.causes import classify_failure
from stoker.execution.data_cache import DataCache
from stoker.execution.engines.engine import Assignment
from stoker.execution.engines.step_profiler import StepProfiler
from stoker.execution.heartbeat import Heartbeat, Stage
from stoker.execution.network import network_variables
from stoker.execution.reporter import NORM_EVERY, Reporter
from stoker.execution.resolved_job import smaller_micro_batch, write_resolved
from stoker.execution.results import draw_batch, draw_data, draw_result, drawn_sheet, evaluate_all, write_model
from stoker.execution.run_store import journal_key, run_storage
from stoker.execution.start_model import classifier_model, start_model
from stoker.execution.worker_result import WorkerResult
from stoker.job.concurrency import machine_cpus
from stoker.job.job import Job
from stoker.storage import Storage
from stoker.training.assembly import Assembly, assemble, made_whole
from stoker.training.attempt import Saved, Saving, Stopped, attempt
from stoker.training.autotune import choose
from stoker.training.checkpoint import Checkpoints
from stoker.training.evaluation_epochs import draws
from stoker.training.events import EpochEnd, StepEnd, TrainingEnd
from stoker.training.feature_training import set_features
from stoker.training.features import kept_content
from stoker.training.initial_weights import set_initial_weights
from stoker.training.loop import start
from stoker.training.parallel import Workers, choose_device, join, prepare_process, set_threads
from stoker.training.preparation import Prepared, prepare
from stoker.training.state import TrainingState

COLLECTIVE_S = 600.0
"""Timeout of collective operations; the driver notices a dead or hanging worker much earlier."""


class TorchEngine:
    """Stoker's own training loop, data-parallel over `torch.distributed`; an `Engine`.

    Args:
        assignment: the worker's part of the attempt.
        job: of the run.
        heartbeat: receives progress, and holds the request to stop.
        cache: datasets that this process has loaded.

    """

    def __init__(self, assignment: Assignment, job: Job, heartbeat: Heartbeat, cache: DataCache) -> None:
        self._folder = assignment.folder
        self._header = assignment.folder.header()
        self._job = job
        self._resolved = assignment.folder.resolved.exists()
        self._rank = assignment.rank
        self._world_size = assignment.world_size
        self._attempt = assignment.attempt
        self._recorded_steps = assignment.recorded_steps
        self._pictures = assignment.figures
        self._heartbeat = heartbeat
        self._cache = cache
        self._reporter: Reporter | None = None
        self._state: TrainingState | None = None

    @property
    def costs(self) -> dict[str, float]:
        """Return training time in `seconds` and the network's number of `parameters`; empty before training."""
        if self._state is None:
            return {}
        return {
            "parameters": float(parameter_count(self._state.assembly.objective)),
            "seconds": self._state.trained_s(),
        }

    def epochs(self, address: str) -> Generator[EpochEnd, None, WorkerResult]:
        """Join the other workers and train, epoch by epoch; closing the generator stops training.

        Failures are returned, not raised.
        """
        try:
            if self._rank == 0:
                self._reporter = Reporter(self._folder)
            return (yield from self._epochs(address))
        except Exception as error:  # every exception is classified
            return classify_failure(error, self._folder.code, self._heartbeat)
        finally:
            if self._reporter:
                self._reporter.close()

    def _epochs(self, address: str) -> Generator[EpochEnd, None, WorkerResult]:
        self._set_up_process()
        device = choose_device(len(ray.get_runtime_context().get_accelerator_ids()["GPU"]))
        with join(self._rank, self._world_size, device, address, COLLECTIVE_S) as workers:
            prepared = self._prepared(workers)
            set_threads(prepared.job.resources.cpus)
            assembly = assemble(prepared, workers)
            end = yield from self._train(assembly)
            if isinstance(end, Stopped):
                return self._result("stopped")
            return self._finish(assembly, end)

    def _set_up_process(self) -> None:
        """Apply the job's environment to the process, before any of the user's modules is imported."""
        os.environ.update(self._job.environment.env)
        if (code := str(self._folder.code)) not in sys.path:
            sys.path.insert(0, code)
        if self._world_size > 1:
            os.environ.update(network_variables())
        prepare_process(self._job.resources.cpus or max(1, machine_cpus() // self._world_size))

    def _prepared(self, workers: Workers) -> Prepared:
        """Load the data on all workers; the first one makes the choices that no earlier attempt has made."""
        self._set_phase("loading data")
        data = self._cache.get(self._job)
        if data and self._resolved:
            prepared = Prepared(self._job, data)
        else:
            prepared = prepare(self._job, data, start_model(self._job))
        if workers.broadcast_object(prepared.data.fingerprint) != prepared.data.fingerprint:
            message = f"worker {self._rank} has other data than worker 0; all of them must see the same data"
            raise TrainingFailed(Cause.BAD_DATA, message)
        if not self._resolved and self._rank == 0:
            self._set_phase("choosing threads and precision")
            prepared = _chosen(prepared, workers)
            write_resolved(self._folder.resolved, prepared.job, prepared.data.fingerprint)
        self._cache.put(prepared.job, prepared.data)
        chosen: Job = workers.broadcast_object(prepared.job)
        return Prepared(chosen, prepared.data)

    def _train(self, assembly: Assembly) -> Generator[EpochEnd, None, TrainingEnd | Stopped]:
        state = self._state = start(assembly)
        checkpoints = self._restored(state)
        if assembly.job.training.evaluate.features:
            self._set_phase("training or loading the feature network")
            set_features(assembly, classifier_model(assembly.job) if self._rank == 0 else None)
        every = -(-assembly.prepared.steps // self._recorded_steps)
        profiler = self._profiler()
        alone_in_layers = not assembly.sharded  # otherwise workers wait for each other in every layer
        self._heartbeat.advance(state.epoch, state.step)
        self._heartbeat.imbalance = assembly.imbalance
        self._heartbeat.enter(Stage.TRAINING)
        if self._reporter:
            self._reporter.start(assembly.prepared.epochs, assembly.prepared.steps, state.step)
            if self._pictures:
                draw_batch(self._folder, assembly)
        try:
            for event in attempt(
                self._header.id, state, checkpoints, every * NORM_EVERY, lambda: self._heartbeat.request
            ):
                match event:
                    case StepEnd():
                        if alone_in_layers:
                            self._heartbeat.step_s = assembly.workers.stopwatch.step_s
                        self._heartbeat.trained = state.throughput.tokens, state.throughput.seconds
                        self._heartbeat.advance(event.epoch, event.step)
                        if profiler:
                            profiler.step()
                        if self._reporter:
                            self._reporter.step(event, recorded=event.step % every == 0)
                    case EpochEnd():
                        self._heartbeat.trained = state.throughput.tokens, state.throughput.seconds
                        self._heartbeat.advance(event.epoch, event.step)
                        if self._reporter:
                            self._reporter.epoch(event)
                            self._draw(assembly, event)
                        yield event
                    case Saving():
                        self._heartbeat.enter(Stage.SAVING)
                        self._save_journal(checkpoints)
                    case Saved():
                        self._heartbeat.checkpoint = (event.epoch, event.step)
                    case TrainingEnd() | Stopped():
                        self._heartbeat.checkpoint = checkpoints.newest
                        return event
        except BaseException:
            checkpoints.abandon()
            self._heartbeat.checkpoint = checkpoints.newest
            raise
        finally:
            if profiler:
                profiler.close()
            if self._reporter:
                self._reporter.flush()  # the last steps help to explain a failure
        raise AssertionError("an attempt ends with TrainingEnd or Stopped")

    def _profiler(self) -> StepProfiler | None:
        """Return the profiler of the first worker, if the run was submitted with one."""
        if self._rank or not self._header.profile_steps:
            return None
        return StepProfiler(self._header.profile_steps, self._folder.artifacts / "profile")

    def _draw(self, assembly: Assembly, event: EpochEnd) -> None:
        """Record the task's pictures of the weights, if they are due; the other workers do not wait."""
        due = event.last or draws(assembly.job.training.evaluate, event.epoch)
        if not (self._reporter and self._pictures and due and self._state):
            return
        with self._state.averaged():
            drawn = drawn_sheet(assembly)
        if drawn:
            name, png, _ = drawn
            self._reporter.picture(event, name, png)

    def _save_journal(self, checkpoints: Checkpoints) -> None:
        """Store journal and pictures before the checkpoint is committed, so that they are never older than it."""
        if self._reporter is None:
            return
        self._reporter.sync()
        if self._header.storage:
            checkpoints.attach(journal_key(self._attempt), self._folder.journal.read_bytes())
            for key, content in self._reporter.pictures_since(checkpoints.newest[1]).items():
                checkpoints.attach(key, content)

    def _restored(self, state: TrainingState) -> Checkpoints:
        """Restore the state of an earlier attempt, or of the run that this one extends; return the checkpoints."""
        keep = state.assembly.job.training.checkpoint.keep
        checkpoints = Checkpoints(self._storage(self._header.id), "", keep, self._attempt)
        if self._rank == 0:
            checkpoints.claim()
        restored = checkpoints.restore(state)
        for damage in restored.damaged if restored and self._rank == 0 else ():
            print(f"skipped a damaged checkpoint: {damage}", file=sys.stderr)  # noqa: T201 - the run's log
        if restored and restored.step:
            self._heartbeat.checkpoint = (restored.epoch, restored.step)
        elif self._header.extends:
            Checkpoints(self._storage(self._header.extends), "", keep, self._attempt).continue_from(state)
        else:
            set_initial_weights(state.assembly, start_model(state.assembly.job))
        return checkpoints

    def _storage(self, run: str) -> Storage:
        """Open the checkpoint storage of this run, or of another one in the same place."""
        return run_storage(self._folder, self._header, run)

    def _finish(self, assembly: Assembly, end: TrainingEnd) -> WorkerResult:
        self._heartbeat.enter(Stage.ENDING)
        self._set_phase("evaluating")
        metrics = evaluate_all(self._folder if self._pictures else None, assembly)
        whole = made_whole(assembly)
        if self._reporter:
            self._reporter.final(end.step, end.best_epoch, metrics)
            if self._pictures:
                draw_data(self._folder, whole.data)
                draw_result(self._folder, whole)
            self._set_phase("saving the model")
            write_model(self._folder, whole)
        facts = {"data": assembly.data.fingerprint, "end": end.reason, "best_epoch": str(end.best_epoch)}
        if assembly.task.features:
            facts["features"] = kept_content(assembly.task.features).description
        return self._result("succeeded", metrics, end.best_step, facts)

    def _result(
        self,
        outcome: str,
        metrics: dict[str, float] | None = None,
        best_step: int = 0,
        facts: dict[str, str] | None = None,
    ) -> WorkerResult:
        heartbeat = self._heartbeat
        return WorkerResult(
            outcome,
            step=heartbeat.step,
            began=heartbeat.began,
            checkpoint=heartbeat.checkpoint,
            metrics=metrics or {},
            best_step=best_step,
            facts=facts or {},
        )

    def _set_phase(self, phase: str) -> None:
        self._heartbeat.advance(self._heartbeat.epoch, self._heartbeat.step)
        if self._reporter:
            self._reporter.set_phase(phase)


def _chosen(prepared: Prepared, workers: Workers) -> Prepared:
    """Return the job with its measured choices; the micro-batch is halved until a worker's share fits the device."""
    while True:
        try:
            return choose(prepared, workers)
        except torch.OutOfMemoryError:
            smaller = smaller_micro_batch(prepared.job)
            if smaller is None:
                raise
            prepared = Prepared(smaller, prepared.data)
