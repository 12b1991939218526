"""A script of the user as an engine: started on each worker as torchrun does it, watched and stopped."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Generator
from dataclasses import replace
from typing import IO, TYPE_CHECKING, TextIO

from stoker.errors import Unreachable
from stoker.execution.causes import classify_failure, classify_output
from stoker.execution.data_cache import DataCache
from stoker.execution.engines.engine import Assignment
from stoker.execution.heartbeat import Heartbeat, Stage
from stoker.execution.network import free_port
from stoker.execution.oom_detection import oom_kill_count
from stoker.execution.own_code.checkpoint_folder import CheckpointFolder
from stoker.execution.own_code.setting_up import own_environment
from stoker.execution.resolved_job import write_resolved
from stoker.execution.run_store import run_storage
from stoker.execution.worker_result import WorkerResult
from stoker.job.concurrency import machine_cpus
from stoker.job.own_code import CodeJob
from stoker.tracking.trials import trial_number

if TYPE_CHECKING:
    from stoker.training.events import EpochEnd

POLL_S = 0.1
STOP_GRACE_S = 25.0
"""From SIGTERM to SIGKILL; less than the driver waits for this worker."""
KEPT_LINES = 60
"""The last lines of standard error tell the cause of a failure."""


class ScriptEngine:
    """Runs a script of the user in a process of its own; an `Engine`.

    Args:
        assignment: the worker's part of the attempt.
        job: of the run.
        heartbeat: receives signs of life, and holds the request to stop.

    """

    def __init__(self, assignment: Assignment, job: CodeJob, heartbeat: Heartbeat, _cache: DataCache) -> None:
        self._folder = assignment.folder
        self._rank, self._world_size = assignment.rank, assignment.world_size
        self._attempt = assignment.attempt
        self._job = job
        self._heartbeat = heartbeat

    @property
    def costs(self) -> dict[str, float]:
        """Return nothing: a script is not compared."""
        return {}

    def epochs(self, address: str) -> "Generator[EpochEnd, None, WorkerResult]":
        """Run the script to its end; failures are returned, not raised."""
        yield from ()
        try:
            return self._run(address)
        except Exception as error:  # every exception is classified
            return classify_failure(error, self._folder.code, self._heartbeat)

    def _run(self, address: str) -> WorkerResult:
        if self._rank == 0 and not self._folder.resolved.exists():
            write_resolved(self._folder.resolved, self._job, "")
        header = self._folder.header()
        variables = own_environment(self._job, header, self._attempt, self._folder.code)
        if header.tracking_uri and trial_number(header.id) is not None and "MLFLOW_RUN_ID" not in variables:
            raise Unreachable("MLflow has no run for this trial yet, from which its metrics would be read")
        variables |= self._torchrun_variables(address)
        storage = run_storage(self._folder, header, header.id) if header.storage else None
        checkpoints = CheckpointFolder(self._folder.checkpoints / "script", storage, counts=self._rank == 0)
        checkpoints.open()
        variables["STOKER_CHECKPOINT_DIR"] = str(checkpoints.folder)
        kills = oom_kill_count()
        self._heartbeat.enter(Stage.TRAINING)
        process = subprocess.Popen(  # noqa: S603 - the user's own script
            command_of(self._job),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self._folder.code,
            env={**os.environ, **variables},
            start_new_session=True,
        )
        copies = [Copied(process.stdout, sys.stdout), errors := Copied(process.stderr, sys.stderr)]
        try:
            stopped = self._watch(process, checkpoints)
        finally:
            _end(process)  # also where this worker is told to go
        for copy in copies:
            copy.close()
        checkpoints.close()
        self._heartbeat.checkpoint = (0, checkpoints.saves)
        if stopped:
            return self._completed(WorkerResult("stopped"))
        if process.returncode == 0:
            return self._completed(WorkerResult("succeeded"))
        script = self._job.entry.script[0]
        killed = oom_kill_count() > kills
        return self._completed(classify_output(script, process.returncode, list(errors.last), killed))

    def _torchrun_variables(self, address: str) -> dict[str, str]:
        """Return the variables of torchrun, for a node per worker: each sees its own GPU alone."""
        host, _, port = (address or f"127.0.0.1:{free_port()}").rpartition(":")
        return {
            "RANK": str(self._rank),
            "WORLD_SIZE": str(self._world_size),
            "LOCAL_RANK": "0",
            "LOCAL_WORLD_SIZE": "1",
            "GROUP_RANK": str(self._rank),
            "GROUP_WORLD_SIZE": str(self._world_size),
            "ROLE_RANK": str(self._rank),
            "ROLE_WORLD_SIZE": str(self._world_size),
            "MASTER_ADDR": host,
            "MASTER_PORT": port,
            "TORCHELASTIC_RUN_ID": self._folder.path.name,
            "TORCHELASTIC_RESTART_COUNT": str(self._attempt - 1),
            "OMP_NUM_THREADS": str(self._job.resources.cpus or max(1, machine_cpus() // self._world_size)),
            "PYTHONUNBUFFERED": "1",
        }

    def _watch(self, process: "subprocess.Popen[bytes]", checkpoints: CheckpointFolder) -> bool:
        """Wait for the script's end; return whether it was asked to stop."""
        deadline = float("inf")
        while process.poll() is None:
            self._heartbeat.advance(0, 0)  # it lives; whether it makes progress, only the script knows
            self._heartbeat.checkpoint = (0, checkpoints.saves)
            if self._heartbeat.request and deadline == float("inf"):
                os.killpg(process.pid, signal.SIGTERM)
                deadline = time.monotonic() + STOP_GRACE_S
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_S)
        return deadline < float("inf")

    def _completed(self, result: WorkerResult) -> WorkerResult:
        """Return the result of a script, which has begun, with its newest checkpoint."""
        return replace(result, needs_all=True, began=True, checkpoint=self._heartbeat.checkpoint)


class Copied:
    """Copies the lines of a process to a stream of this one, and keeps the last ones."""

    def __init__(self, source: IO[bytes] | None, target: TextIO) -> None:
        assert source is not None
        self.last: deque[str] = deque(maxlen=KEPT_LINES)
        self._source, self._target = source, target
        self._thread = threading.Thread(target=self._copy, name="copy", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait for the last lines; a process that the script has left behind may keep the pipe open."""
        self._thread.join(timeout=1.0)

    def _copy(self) -> None:
        with self._source:
            for line in self._source:
                text = line.decode(errors="replace")
                self._target.write(text)
                self._target.flush()
                self.last.append(text.rstrip())


def command_of(job: CodeJob) -> list[str]:
    """Return the command of a script: its own options, then the settings as options.

    A setting `lr: 0.1` is `--lr 0.1`; `true` is the option alone, `false` and null are no option; a list or an object
    is JSON.
    """
    script, *options = job.entry.script
    for name, value in job.settings.items():
        if value is True:
            options.append(f"--{name}")
        elif value not in (False, None):
            options += [f"--{name}", value if isinstance(value, str) else json.dumps(value)]
    return [sys.executable, script, *options]


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill what is left of a script's process group."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
