"""The driver of a run: repeats attempts until one succeeds or no retry can help, and records the outcome."""

import random
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoker.errors import CAUSES, Cause, Retry
from stoker.execution.attempts import Attempts, Watch
from stoker.execution.own_code.mlflow_run import announce
from stoker.execution.recording import Recording
from stoker.execution.resolved_job import halve_micro_batch, load_run_job, micro_batch
from stoker.execution.retry import Action, Failure, decide
from stoker.execution.stop_requests import StopReason, StopRequests
from stoker.execution.worker_result import WorkerResult
from stoker.job.job import Job
from stoker.job.resources import Resources
from stoker.job.section import time_seconds
from stoker.settings import load_settings
from stoker.tracking.run import WAITING, State, now
from stoker.tracking.run_folder import RunFolder

if TYPE_CHECKING:
    from stoker.execution.run_store import RunStore

TERMINATED_EXIT_CODE = 128 + signal.SIGTERM
"""Exit code after SIGTERM, by the convention of shells; the run is not over."""
KEPT_FAILURES = 10
"""Failed attempts that the status of a run remembers."""


class Driver:
    """Takes a run to a final state, or to a checkpoint from which it can be resumed.

    Args:
        folder: of the run.
        terminated: set once this process receives SIGTERM.
        store: keeps the run's files, if the folder is lost with its pod.

    """

    def __init__(self, folder: RunFolder, terminated: threading.Event, store: "RunStore | None" = None) -> None:
        self.folder = folder
        self._store = store
        self._lock = threading.Lock()
        before = folder.status()
        self._status = replace(before.for_next_driver(), started=before.started or now())
        self.update_status()
        self.requests = StopRequests(folder, terminated)
        self.recording = Recording(folder, load_settings(), self._on_mlflow_run)
        self._resources: Resources | None = None

    @property
    def attempt(self) -> int:
        """Return the number of attempts so far."""
        return self._status.attempt

    def train(self, attempts: Attempts, session: Path | None = None) -> int:
        """Train and always record the outcome; return the exit code.

        Args:
            attempts: makes them.
            session: folder of a Ray session that belongs to this run alone.

        """
        return self.run(lambda: self._attempts(attempts), session)

    def run(self, work: Callable[[], WorkerResult], session: Path | None = None) -> int:
        """Do the run's work and always record the outcome; return the exit code.

        Args:
            work: returns the outcome; it stops when a request arrives.
            session: folder of a Ray session that belongs to this run alone.

        """
        note = self.folder.path / "ray_session"
        if session is not None:
            note.write_text(str(session), encoding="utf-8")
        if self._store:
            self._store.restore_journal()
            self._store.start()
        self.recording.start()
        try:
            result = work()
        except Exception as error:  # a bug in Stoker: the run must end nevertheless
            traceback.print_exc()
            result = WorkerResult("failed", Cause.INTERNAL, f"{type(error).__name__}: {error}")
        finally:
            note.unlink(missing_ok=True)
        code = self._finish(result)
        if self._store and not self._store.close():
            print("the storage did not accept the run's last state", file=sys.stderr)  # noqa: T201 - the run's log
        return code

    def stop(self, message: str) -> int:
        """End a run whose workers could not be started, or that was stopped before they were; return the exit code."""
        if self._status.mlflow_run:  # an earlier driver has created the MLflow run
            self.recording.start()
        return self._finish(WorkerResult("failed", Cause.INTERNAL, message))

    def _attempts(self, attempts: Attempts) -> WorkerResult:
        """Repeat attempts until one succeeds, a request stops the run, or no retry can help."""
        history: list[Failure] = []
        while True:
            result = self._attempt(attempts)
            if result.outcome == "succeeded" or self.requests.reason():
                return result
            if result.outcome == "failed":
                assert self._resources is not None
                history.append(self._failure(result))
                decision = decide(history, self._resources.retries, random.random())  # noqa: S311 - no secret
                if decision.action is Action.END:
                    return replace(result, cause=decision.cause, message=decision.message)
                if decision.action is Action.SMALLER:
                    halve_micro_batch(self.folder.resolved)
                self._note_failure(decision.cause, replace(result, message=decision.message))
                attempts.renew(self._stopped)
                self.requests.wait(decision.wait_s)
            elif result.grows:
                print(f"attempt {self.attempt}: {result.message}", file=sys.stderr)  # noqa: T201 - the run's log
                self.update_status(phase=result.message)
            else:  # a node is taken away: nothing has failed
                self._note_failure(Cause.INFRASTRUCTURE, result)
                attempts.renew(self._stopped)

    def _note_failure(self, cause: Cause, result: WorkerResult) -> None:
        """Write why another attempt follows."""
        line = _failure_line(self.attempt, cause, result)
        failures = [*self._status.failures, line][-KEPT_FAILURES:]
        self.update_status(state=State.RETRYING, cause=cause, message=result.message, failures=failures)

    def _attempt(self, attempts: Attempts) -> WorkerResult:
        number = self._status.attempt + 1
        if attempts.waits and not self._wait_for_resources(attempts):
            return WorkerResult("stopped")
        self.update_status(
            state=State.RUNNING, attempt=number, attempt_started=now(), phase="", cause="", message="", slow=[]
        )
        if self._store and number > 1:
            self._store.restore_journal()  # the first worker may have died before its last journal entries arrived
        if number > 1:
            step = self._status.checkpoint_step
            where = f" at step {step:,}" if step else ""  # a driver that was lost may not have known of a checkpoint
            print(f"attempt {number} starts{where}", file=sys.stderr)  # noqa: T201 - the run's log
        watch = Watch(
            self.requests.reason,
            self._on_started,
            self._record_checkpoint,
            self.recording.add_system_metrics,
            lambda slow: self.update_status(slow=slow),
            self._leave_out,
        )
        result = attempts.run(self.folder, number, watch)
        if result.checkpoint[1] > self._status.checkpoint_step:  # a worker that died abruptly reports no checkpoint
            self._record_checkpoint(result.checkpoint)
        if result.outcome == "failed":
            print(result.failure_text(number), file=sys.stderr)  # noqa: T201 - the run's log
        return result

    def _on_started(self, workers: str) -> None:
        """Note how many workers there are, and read the job's limits while they start."""
        self.update_status(workers=workers)
        if self._resources is None:
            self._resources = load_run_job(self.folder).resources
            if self._resources.timeout:
                self.requests.start_timeout(time_seconds(self._resources.timeout))

    def _leave_out(self, machines: list[str]) -> None:
        """Note which machines this run does not use again."""
        for machine in set(machines) - set(self._status.left_out):
            print(f"not used again: {machine}", file=sys.stderr)  # noqa: T201 - the run's log
        self.update_status(left_out=machines)

    def _wait_for_resources(self, attempts: Attempts) -> bool:
        """Wait until Ray can place all workers; return False if a request stops the run before."""
        self.update_status(phase=f"{WAITING} for {attempts.wanted}")
        return attempts.wait_for_resources(self._stopped)

    def _stopped(self) -> bool:
        return self.requests.reason() is not None

    def _failure(self, result: WorkerResult) -> Failure:
        cause = Cause(result.cause)
        resolved, size = self.folder.resolved, 0
        if CAUSES[cause].retried is Retry.SMALLER and result.began and resolved.exists():
            job = load_run_job(self.folder)
            size = micro_batch(job) if isinstance(job, Job) else 0
        return Failure(cause, result.message, result.step, self._status.checkpoint_step, result.died, size)

    def _finish(self, result: WorkerResult) -> int:
        """Write the final or resumable state to the run's folder and to MLflow; return the exit code."""
        stop = None if result.outcome == "succeeded" else self.requests.reason()
        if stop in (StopReason.PAUSE, StopReason.TERMINATE):
            code = self._suspend(stop)
            if self.requests.reason() is not StopReason.CANCEL:
                return code
            stop = StopReason.CANCEL  # requested while MLflow was updated
        state, result = _final_state(result, stop, self._status.checkpoint_step)
        self.update_status(phase="recording in MLflow")
        model_uri, trouble = self.recording.finish(result, state, self._status.attempt)
        code = CAUSES[Cause(result.cause)].exit_code if result.cause else int(state is State.CANCELLED)
        self.update_status(
            state=state,
            cause=result.cause,
            message=result.message or trouble,
            metrics=result.metrics,
            facts=result.facts,
            model_uri=model_uri,
            phase="",
            ended=now(),
            exit_code=code,
        )
        return code

    def _suspend(self, stop: StopReason) -> int:
        """Leave the run resumable; after SIGTERM its INTERRUPTED state is derived from the lost lease, not written."""
        paused = stop is StopReason.PAUSE
        self.update_status(phase="recording in MLflow")
        trouble = self.recording.suspend(State.PAUSED if paused else State.INTERRUPTED, self._status.attempt)
        if paused:
            self.update_status(state=State.PAUSED, cause="", message=trouble, phase="", ended=now(), exit_code=0)
            return 0
        run = self.folder.path.name
        message = f"its driver received SIGTERM; `stoker resume {run}` continues it"
        self.update_status(cause="", message="; ".join(filter(None, [message, trouble])), phase="", ended=now())
        return TERMINATED_EXIT_CODE

    def _record_checkpoint(self, checkpoint: tuple[int, int]) -> None:
        """Write the newest checkpoint's position; it may move back where newer checkpoints are damaged."""
        epoch, step = checkpoint
        if step != self._status.checkpoint_step:
            self.update_status(checkpoint_epoch=epoch, checkpoint_step=step)

    def _on_mlflow_run(self, mlflow_run: str, page: str) -> None:
        """Write the id and the page of the MLflow run once it exists, and tell own code."""
        announce(self.folder.path.name, mlflow_run)
        self.update_status(mlflow_run=mlflow_run, url=page)

    def update_status(self, **changes: Any) -> None:
        """Change fields of the run's status."""
        with self._lock:
            self._status = replace(self._status, **changes)
            self.folder.write_status(self._status)


def _failure_line(attempt: int, cause: Cause, result: WorkerResult) -> str:
    """Return a line about an attempt that another one follows."""
    message = result.message.partition("\n")[0]
    return f"attempt {attempt} at step {result.step:,}: {cause}: {message}"


def _final_state(result: WorkerResult, stop: StopReason | None, checkpoint_step: int) -> tuple[State, WorkerResult]:
    """Return the final state; a request takes precedence over a failure at the same time, which it may have caused."""
    if result.outcome == "succeeded":
        return State.SUCCEEDED, result
    if stop is StopReason.CANCEL:
        return State.CANCELLED, WorkerResult("stopped")
    if stop is StopReason.TIMEOUT:
        saved = f"; a checkpoint holds step {checkpoint_step}" if checkpoint_step else ""
        message = f"resources.timeout has passed{saved}"
        return State.FAILED, WorkerResult("failed", Cause.TIMED_OUT, message)
    return State.FAILED, result
