"""The process of a trial, as an actor that Ray Tune reuses for one trial after another, so that libraries load once."""

import os
import shutil
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import random
from typing import TYPE_CHECKING, Any

import ray
from pyarrow.fs import LocalFileSystem
from ray._private.ray_constants import LOG_PREFIX_ACTOR_NAME
from ray.train._internal.session import _TrainingResult
from ray.tune import Checkpoint, Trainable
from ray.util import get_current_placement_group

from stoker.errors import Cause, Damaged
from stoker.execution.engines.table import LIBRARIES
from stoker.execution.heartbeat import Heartbeat
from stoker.execution.resolved_job import halve_micro_batch
from stoker.execution.retry import Action, Failure, decide
from stoker.execution.run_store import RunStore, with_saved_results
from stoker.execution.sweeps.checkpoint_copies import copy_newest_checkpoint, copy_storage
from stoker.execution.sweeps.stop_signal import stop_requested
from stoker.execution.worker_folder import FolderUpdate, folder_update, unpack
from stoker.execution.worker_result import WorkerResult
from stoker.job.own_code import CodeKind
from stoker.jobfile.loading import parse_job
from stoker.secret_files import load_secret_files
from stoker.tracking.run import RunHeader
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.trials import EpochReport

if TYPE_CHECKING:
    from stoker.execution.data_cache import DataCache
    from stoker.execution.sweeps.trial_attempt import Epochs  # no import: the driver imports this module, without torch
    from stoker.execution.worker_group import WorkerGroup

REPORT_EVERY_S = 0.5
"""Interval of reports between the scheduler's decisions."""
POLL_EVERY_S = 0.25
KV_POLL_EVERY_S = 1.0
"""The same for trials that poll Ray's key-value store, which all of them share."""
STOP_FILE = "stop"
"""File in the folder of a sweep's trials: all of them save a checkpoint and stop."""


@dataclass(frozen=True)
class TrialPlan:
    """Settings of all trials of a sweep."""

    job: str
    """The sweep's resolved job."""
    shared_disk: bool
    """Whether trials see the driver's files."""
    decision_epochs: tuple[int, ...] | None
    """The epochs after which the scheduler decides; None for all of them."""
    retries: int
    workers: int
    cpus: int
    """Ray CPUs of each worker: the job file's number, not the threads chosen later."""
    gpus: float
    """GPUs of each worker, possibly a fraction."""
    copies_checkpoints: bool = False
    """Whether trials may continue from copies of others' checkpoints."""
    own_code: CodeKind | None = None
    """Whether trials are own code, and of which kind."""

    @property
    def in_process(self) -> bool:
        """Return whether a trial trains in the actor's own process."""
        return self.workers == 1 and self.own_code is None


@dataclass(frozen=True)
class TrialUpdate:
    """A trial's report to the driver."""

    reports: tuple[EpochReport, ...]
    result: WorkerResult | None
    """The outcome; None while it trains."""
    folder: FolderUpdate
    """Changes of its folder, if that is not the driver's."""


class TrialActor(Trainable):  # type: ignore[misc] # Ray's classes have no types
    """Trains one trial after another.

    `step` returns `{"update": TrialUpdate, "done": bool}`. Failed attempts are retried here; only the death of the
    process is left to Tune.
    """

    def setup(self, config: dict[str, Any], plan: TrialPlan, data: Sequence[ray.ObjectRef]) -> None:
        """Start the first trial.

        Args:
            config: `number`; `folder`; `files`, the folder's content if trials do not see the driver's files; `change`
                and `copy`, count of the trial's PBT changes and key of the checkpoint to continue from.
            plan: of all trials.
            data: reference to the dataset of the sweep's job.

        """
        load_secret_files()
        self._plan = plan
        self._cache = _filled_cache(plan, data[0]) if plan.own_code is None else None
        self._heartbeat = Heartbeat()
        self._folder = RunFolder(Path())
        self._header: RunHeader | None = None
        self._unreported: list[EpochReport] = []
        """Epochs of earlier attempts, which the driver may not know."""
        self._epochs: Epochs
        self._group: WorkerGroup | None = None
        every_s = POLL_EVERY_S if plan.shared_disk else KV_POLL_EVERY_S
        threading.Thread(
            target=_poll_stop_requests, args=(weakref.ref(self), every_s), name="stop-requests", daemon=True
        ).start()
        self._start_trial(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Abandon the current trial and start the next one."""
        self._epochs.close()
        self._start_trial(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train until the scheduler must decide, or a report is due."""
        reports, self._unreported = self._unreported, []
        result: WorkerResult | None = None
        due = time.monotonic() + REPORT_EVERY_S
        self._copy_checkpoint()
        self._paused = False
        while result is None:
            try:
                report, last = next(self._epochs)
            except StopIteration as end:
                result = self._retry_or_end(end.value)
                continue
            if report is None:
                if reports or time.monotonic() >= due:
                    break
                continue
            reports.append(report)
            if last:
                continue  # the scheduler does not decide about the last epoch
            decision_epochs = self._plan.decision_epochs
            if decision_epochs is None or report.epoch in decision_epochs or time.monotonic() >= due:
                break
        return {"update": TrialUpdate(tuple(reports), result, self._folder_update()), "done": result is not None}

    def save(self, checkpoint_dir: str | None = None) -> _TrainingResult:
        """Stop at a checkpoint, and copy it if other trials may continue from it.

        Tune's own checkpoints would be on one machine's disk; Tune receives only the name of ours.
        """
        if not self._paused:
            self._heartbeat.request = "stop"
            for _ in self._epochs:
                pass  # the request takes effect at the next step
            self._epochs = self._next_attempt()
            self._paused = True
        name = copy_newest_checkpoint(self._folder) if self._plan.copies_checkpoints else self._folder.path.name
        return _TrainingResult(Checkpoint(name, LocalFileSystem()) if name else None, {})

    def restore(self, checkpoint_path: object) -> None:
        """Do nothing: a trial always starts from its newest checkpoint."""

    def cleanup(self) -> None:
        """Abandon the last trial."""
        self._epochs.close()
        if self._group is not None:
            self._group.close()
        self._delete_folder()

    def check_stop_request(self) -> None:
        """Check whether the trial is asked to stop."""
        heartbeat = self._heartbeat  # read before the folder, so that a request to this trial cannot stop the next one
        if self._plan.shared_disk:
            requested = any(
                path.exists() for path in (self._folder.cancel_request, self._folder.path.parent / STOP_FILE)
            )
        else:
            requested = self._header is not None and stop_requested(self._header.id)
        if requested:
            heartbeat.request = "stop"

    def _start_trial(self, config: dict[str, Any]) -> None:
        for stream in (sys.stdout, sys.stderr):
            print(f"{LOG_PREFIX_ACTOR_NAME}Trial {config['number']}", file=stream, flush=True)
        from stoker.execution.sweeps.trial_attempt import function_reports, journal_reports

        folder = RunFolder(Path(config["folder"]))
        if not self._plan.shared_disk:
            self._delete_folder()
            folder = unpack(
                config["files"], folder.path.name, f"trial-{os.getpid()}"
            )  # the old process may still use its folder
        header = folder.header()
        self._folder, self._header = folder, header
        self._store = RunStore(folder)
        self._position = 0
        if not self._plan.shared_disk:  # the checkpoint may be newer than `files`
            self._store.restore_journal()
        self._unreported = journal_reports(folder) if self._plan.own_code is None else function_reports(folder)
        self._history: list[Failure] = []
        begun = self._store.storage.keys("attempts")
        self._attempt = int(begun[-1].rsplit("/", 1)[1]) if begun else 0
        self._pending_copy = (config["change"], config["copy"])
        self._epochs = self._next_attempt()
        self._paused = True

    def _copy_checkpoint(self) -> None:
        """Replace the trial's checkpoint by a copy of another trial's, if that is still to be done.

        Done when training starts, because Tune also creates trials in processes that it never uses.
        """
        from stoker.training.checkpoint import Checkpoints

        (change, copy), self._pending_copy = self._pending_copy, (0, "")
        done = f"taken/{change:04d}"
        if not change or done in self._store.storage.keys("taken"):
            return
        self._attempt += 1
        checkpoints = Checkpoints(self._store.storage, "", 1, self._attempt)
        checkpoints.claim()
        try:
            checkpoints.adopt(copy_storage(self._folder), copy)
        except Damaged as error:
            print(f"the trial continues with its own weights: {error}", file=sys.stderr)  # noqa: T201 - the run's log
        self._store.storage.put(done, [copy.encode()])
        self._epochs = self._next_attempt()

    def _next_attempt(self) -> "Epochs":
        from stoker.execution.sweeps.trial_attempt import train_by_ray_train, train_in_group, train_in_process

        self._attempt += 1
        self._heartbeat = Heartbeat()
        if self._plan.own_code == "function":
            return train_by_ray_train(
                self._folder, self._attempt, self._heartbeat, self._plan.shared_disk, self._plan.cpus
            )
        if self._cache is not None and self._plan.in_process:
            return train_in_process(self._folder, self._attempt, self._heartbeat, self._cache)
        if self._group is None:
            from stoker.execution.worker_group import WorkerGroup

            place = get_current_placement_group()
            libraries = () if self._plan.own_code else LIBRARIES
            self._group = WorkerGroup(
                self._plan.workers, self._plan.gpus, False, self._plan.shared_disk, place, libraries
            )
        script = self._plan.own_code == "script"
        return train_in_group(self._folder, self._attempt, self._heartbeat, self._group, ticks=script)

    def _retry_or_end(self, result: WorkerResult) -> WorkerResult | None:
        """Start another attempt if a retry may help, as for a single run; else return the trial's outcome."""
        if self._plan.in_process and not self._plan.shared_disk:  # rank 0 of a group stores its results itself
            result = with_saved_results(result, self._store)
        if result.outcome != "failed":
            return result
        print(result.failure_text(self._attempt), file=sys.stderr, flush=True)  # noqa: T201 - the run's log
        self._history.append(Failure(Cause(result.cause), result.message, result.step, result.checkpoint[1]))
        decision = decide(self._history, self._plan.retries, random())  # noqa: S311 - no secret
        if decision.action is Action.END:
            return WorkerResult(
                "failed", decision.cause, decision.message, step=result.step, checkpoint=result.checkpoint
            )
        if decision.action is Action.SMALLER:
            halve_micro_batch(self._folder.resolved)
        time.sleep(decision.wait_s)
        self._epochs = self._next_attempt()
        return None

    def _delete_folder(self) -> None:
        """Delete the folder of an abandoned trial, if this node has its own."""
        if not self._plan.shared_disk and self._header is not None:
            shutil.rmtree(self._folder.path, ignore_errors=True)

    def _folder_update(self) -> FolderUpdate:
        if self._plan.shared_disk:
            return FolderUpdate()
        update = folder_update(self._folder, self._position)
        self._position += len(update.journal)
        return update


def _filled_cache(plan: TrialPlan, data: ray.ObjectRef) -> "DataCache":
    """Return a cache with the data of the sweep's job."""
    from stoker.execution.data_cache import DataCache
    from stoker.execution.sweeps.sharing import from_shared

    cache = DataCache(capacity=4)
    cache.put(parse_job(plan.job, "job.yaml").task_job, from_shared(ray.get(data)))
    return cache


def _poll_stop_requests(reference: "weakref.ref[TrialActor]", every_s: float) -> None:
    while (actor := reference()) is not None:
        actor.check_stop_request()
        del actor
        time.sleep(every_s)
