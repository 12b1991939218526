"""The driver of a run, `python -m stoker.execution.entrypoint FOLDER`: every cluster ends here."""

import argparse
import os
import signal
import sys
import threading
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoker.errors import CAUSES, Cause, StokerError
from stoker.execution.ray_session import embedded_ray
from stoker.execution.recording import Recording
from stoker.settings import Settings, load_settings
from stoker.spec.job import Job
from stoker.spec.loading import load_job
from stoker.tracking.record import RunFolder, RunStatus, State, now

if TYPE_CHECKING:
    from stoker.execution.worker import WorkerResult

FINAL = {"succeeded": State.SUCCEEDED, "cancelled": State.CANCELLED, "failed": State.FAILED}


def main() -> int:
    """Run the folder's job to its final state and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the run's folder, with job.yaml and run.json")
    parser.add_argument("--lease", type=int, help="open file that holds the run's lease, inherited from the submitter")
    arguments = parser.parse_args()
    folder = RunFolder(arguments.folder)
    lease = arguments.lease if arguments.lease is not None else folder.hold_lease()
    os.set_inheritable(lease, False)
    status = folder.status()
    if status.state.final:
        return status.exit_code
    return Driver(folder, load_settings()).run()


class Driver:
    """Takes a run from its folder to one final state."""

    def __init__(self, folder: RunFolder, settings: Settings) -> None:
        self._folder = folder
        self._settings = settings
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._status = RunStatus(State.STARTING, started=now())

    def run(self) -> int:
        """Run the job; whatever happens, the record says so."""
        self._folder.write_status(self._status)
        _on_terminate(self._cancelled)
        try:
            status = self._run(load_job(self._folder.job).job)
        except StokerError as error:
            status = self._failed(str(error))
        except Exception as error:  # the last line of defence: a run always ends in a state
            traceback.print_exc()
            status = self._failed(f"{type(error).__name__}: {error}")
        self._folder.write_status(status)
        return status.exit_code

    def _run(self, job: Job) -> RunStatus:
        recording = Recording(self._folder, self._settings, self._announce)
        recording.start()
        with embedded_ray(job.resources.cpus or 1, self._folder.path / "ray_session"):
            _on_terminate(self._cancelled)  # ray.init puts its own handler in place
            from stoker.execution.single_run import run_single

            self._say(state=State.RUNNING)
            gpus = job.resources.gpus or 0
            result = run_single(self._folder.path, job.resources.cpus or 1, gpus, self._cancelled)
        state = FINAL[result.outcome]
        model_uri, trouble = recording.finish(result, state)
        return replace(self._ended(result, state), model_uri=model_uri, message=result.message or trouble)

    def _announce(self, mlflow_run: str, page: str) -> None:
        """Say where the page is as soon as it exists."""
        self._say(mlflow_run=mlflow_run, url=page)

    def _say(self, **changes: Any) -> None:
        with self._lock:
            self._status = replace(self._status, **changes)
            self._folder.write_status(self._status)

    def _ended(self, result: "WorkerResult", state: State) -> RunStatus:
        code = CAUSES[Cause(result.cause)].exit_code if result.cause else int(state is State.CANCELLED)
        return replace(
            self._status, state=state, phase="", cause=result.cause, ended=now(), metrics=result.metrics, exit_code=code
        )

    def _failed(self, message: str) -> RunStatus:
        cause = Cause.INTERNAL
        code = CAUSES[cause].exit_code
        return replace(self._status, state=State.FAILED, cause=cause, message=message, ended=now(), exit_code=code)


def _on_terminate(cancelled: threading.Event) -> None:
    signal.signal(signal.SIGTERM, lambda *_: cancelled.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
