"""One attempt of a trial, epoch by epoch: in the actor's own process, or in a group of workers."""

import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

from stoker.errors import Cause
from stoker.execution.attempts import Watch
from stoker.execution.causes import classify_failure
from stoker.execution.data_cache import DataCache
from stoker.execution.engines.engine import Assignment
from stoker.execution.engines.table import engine_of
from stoker.execution.heartbeat import Heartbeat
from stoker.execution.resolved_job import load_run_job
from stoker.execution.stop_requests import StopReason
from stoker.execution.supervisor import Supervisor, Timeouts
from stoker.execution.worker_group import WorkerGroup
from stoker.execution.worker_result import RESULTS_LOST, WorkerResult
from stoker.job.own_code import CodeJob
from stoker.tracking.journal import epoch_metrics, read_journal
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.trials import EpochReport

RECORDED_STEPS = 100
"""A trial records the losses of about this many steps at most, because there are many trials."""
POLL_EVERY_S = 0.1
ABANDON = "abandon"
"""Request to a training function whose trial is not wanted any more, where `stop` waits for a checkpoint."""
CHECKPOINT_WAIT_S = 30.0
"""How long a stopped sweep waits for the next checkpoint of its functions."""

Epochs = Generator[tuple[EpochReport | None, bool], None, WorkerResult]
"""Reports of one attempt, each with whether it is known to be the last, and the outcome; None where nothing is new.

Closing the generator stops the training.
"""


def train_in_process(folder: RunFolder, attempt: int, heartbeat: Heartbeat, cache: DataCache) -> Epochs:
    """Train in this process."""
    assignment = Assignment(folder, 0, 1, attempt, RECORDED_STEPS, figures=False)
    engine = engine_of(assignment, heartbeat, cache)
    epochs = engine.epochs("")
    try:
        while True:
            try:
                event = next(epochs)
            except StopIteration as end:
                result: WorkerResult = end.value
                return result
            yield EpochReport(event.epoch, event.step, event.metrics | engine.costs), event.last
    finally:
        epochs.close()


def train_in_group(
    folder: RunFolder, attempt: int, heartbeat: Heartbeat, group: WorkerGroup, ticks: bool = False
) -> Epochs:
    """Train in a group of workers; epochs are read from the first one's journal.

    Args:
        folder: of the trial.
        attempt: counted from 1.
        heartbeat: holds the request to stop.
        group: the workers.
        ticks: whether to yield where nothing is new.

    """
    began = time.monotonic()
    supervisor = _SupervisorThread(group, lambda: StopReason.CANCEL if heartbeat.request else None)
    group.replace_dead({}, lambda: False)
    group.start_attempt(folder, attempt)
    supervisor.start()
    position, last_epoch, collected = 0, 0, True
    try:
        while True:
            alive = supervisor.is_alive()
            if not alive:
                collected = group.collect_journal()  # it completes the journal
            for report, after in _reports(folder, position):
                position = after
                if report.epoch > last_epoch:
                    last_epoch = report.epoch
                    yield replace(report, metrics=report.metrics | {"seconds": time.monotonic() - began}), False
            if not alive:
                break
            if ticks:
                yield None, False
            supervisor.join(POLL_EVERY_S)
    finally:
        if supervisor.is_alive():
            heartbeat.request = "stop"
            supervisor.join()
    result = supervisor.result
    if result.outcome == "stopped" and result.message and not heartbeat.request:  # its node is taken away
        return result.failed(Cause.INFRASTRUCTURE, result.message)
    if not collected and result.outcome == "succeeded":
        return result.failed(Cause.INFRASTRUCTURE, RESULTS_LOST)
    return result


def train_by_ray_train(folder: RunFolder, attempt: int, heartbeat: Heartbeat, shared_disk: bool, cpus: int) -> Epochs:
    """Train by Ray Train; each report of the function is an epoch.

    Args:
        folder: of the trial.
        attempt: counted from 1.
        heartbeat: holds the request to stop.
        shared_disk: whether the workers see this folder.
        cpus: Ray CPUs of each worker.

    """
    known = [report.epoch for report in function_reports(folder)]
    position, last = 0, max(known, default=0)
    training = _RayTrainThread(folder, attempt, heartbeat, shared_disk, cpus)
    training.start()
    try:
        while True:
            alive = training.is_alive()
            for report, after in _function_reports(folder, position):
                position = after
                if report.epoch > last:
                    last = report.epoch
                    yield report, False
            if not alive:
                return training.result
            yield None, False
            training.join(POLL_EVERY_S)
    finally:
        if training.is_alive():
            heartbeat.request = ABANDON
            training.join()


def function_reports(folder: RunFolder) -> list[EpochReport]:
    """Return the reports of a training function in earlier attempts, which a new driver may not know."""
    return [report for report, _ in _function_reports(folder, 0)]


def journal_reports(folder: RunFolder) -> list[EpochReport]:
    """Return the journal's epochs of earlier attempts, which a new driver may not know."""
    found = {report.epoch: report for report, _ in _reports(folder, 0)}
    return [found[epoch] for epoch in sorted(found)]


class _SupervisorThread(threading.Thread):
    """Supervises a group's attempt while another thread reports its epochs."""

    def __init__(self, group: WorkerGroup, stop: Callable[[], StopReason | None]) -> None:
        super().__init__(name="watch", daemon=True)
        self._supervisor = Supervisor(group, stop, lambda _: None, lambda *_: None, Timeouts())
        self.result = WorkerResult("failed", Cause.INTERNAL, "its supervisor thread died")

    def run(self) -> None:
        """Supervise the attempt to its end."""
        self.result = self._supervisor.run()


class _RayTrainThread(threading.Thread):
    """Makes an attempt by Ray Train while another thread follows its reports."""

    def __init__(self, folder: RunFolder, attempt: int, heartbeat: Heartbeat, shared_disk: bool, cpus: int) -> None:
        super().__init__(name="ray-train", daemon=True)
        self._folder = folder
        self._attempt = attempt
        self._heartbeat = heartbeat
        self._shared_disk = shared_disk
        self._cpus = cpus
        self.result = WorkerResult("failed", Cause.INTERNAL, "its thread died")

    def run(self) -> None:
        """Make the attempt; failures are in the result."""
        from stoker.execution.ray_train.attempts import RayTrainAttempts

        watch = Watch(self._requested, lambda _: None, lambda _: None, lambda *_: None)
        try:
            job = load_run_job(self._folder)
            assert isinstance(job, CodeJob)
            attempts = RayTrainAttempts(job, self._shared_disk, self._cpus, CHECKPOINT_WAIT_S)
            if attempts.wait_for_resources(lambda: self._requested() is not None):
                self.result = attempts.run(self._folder, self._attempt, watch)
            else:
                self.result = WorkerResult("stopped")
        except Exception as error:  # every exception is classified
            self.result = classify_failure(error, self._folder.code, self._heartbeat)

    def _requested(self) -> StopReason | None:
        """Return how the function is asked to stop: after its next checkpoint, or at once if the trial is abandoned."""
        if self._heartbeat.request == ABANDON:
            return StopReason.CANCEL
        return StopReason.PAUSE if self._heartbeat.request else None


def _function_reports(folder: RunFolder, position: int) -> Iterator[tuple[EpochReport, int]]:
    """Read the reports of a training function, each with the byte position after it."""
    created = folder.header().created
    for entry, after in read_journal(folder.journal, position):
        seconds = max(0.0, entry.time_ms / 1000 - created)
        yield EpochReport(entry.step, entry.step, {"seconds": seconds} | entry.metrics), after


def _reports(folder: RunFolder, position: int) -> Iterator[tuple[EpochReport, int]]:
    """Read the ends of epochs from a journal, each with the byte position after it."""
    for entry, after in read_journal(folder.journal, position):
        if metrics := epoch_metrics(entry):
            yield EpochReport(entry.epoch, entry.step, metrics), after
