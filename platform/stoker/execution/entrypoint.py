"""The driver of a run, `python -m stoker.execution.entrypoint FOLDER`: every cluster ends here.

With `--standby FD` it starts Ray and its worker before the run exists, and then gets the folder and its lease over that
socket; if the other side hangs up instead, it goes away without a trace.
"""

import argparse
import os
import signal
import socket
import sys
import threading
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoker.errors import CAUSES, Cause, StokerError
from stoker.execution.ray_session import embedded_ray
from stoker.settings import load_settings
from stoker.tracking.record import RunFolder, RunStatus, State, now

if TYPE_CHECKING:
    from stoker.execution.worker import WorkerResult

FINAL = {"succeeded": State.SUCCEEDED, "cancelled": State.CANCELLED, "failed": State.FAILED}


def main() -> int:
    """Run a folder's job to its final state and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="the run's folder, with job.yaml and run.json")
    parser.add_argument("--standby", type=int, metavar="FD", help="socket over which folder and lease will come")
    parser.add_argument("--gpus", type=int, help="GPUs of the worker; default: one if there is one")
    arguments = parser.parse_args()
    if arguments.standby is not None:
        return _drive(arguments.gpus, socket.socket(fileno=arguments.standby))
    if arguments.folder is None:
        parser.error("name the run's folder")
    folder = RunFolder(arguments.folder)
    folder.hold_lease(os.getpid())
    if folder.status().state.final:
        return folder.status().exit_code
    return _drive(arguments.gpus, folder)


def _drive(gpus: int | None, origin: RunFolder | socket.socket) -> int:
    """Start Ray and the worker, learn the run, and take it to its end."""
    cancelled = threading.Event()
    _on_terminate(cancelled)
    driver = Driver(origin, cancelled) if isinstance(origin, RunFolder) else None
    try:
        with embedded_ray(cpus=1) as session:
            _on_terminate(cancelled)  # ray.init puts its own handler in place
            from stoker.execution.single_run import start_worker

            worker = start_worker(gpus)
            if isinstance(origin, socket.socket):
                folder = receive_run(origin)
                if folder is None:
                    return 0
                driver = Driver(folder, cancelled)
            assert driver is not None
            return driver.run(worker, session)
    except (Exception, SystemExit) as error:  # Ray itself exits on SIGTERM while it starts
        if driver is None and isinstance(origin, socket.socket):
            folder = receive_run(origin)
            driver = Driver(folder, cancelled) if folder else None
        traceback.print_exc()  # to the run's log, now that there is one
        return driver.stop(f"{type(error).__name__}: {error}") if driver else 1


def receive_run(origin: socket.socket) -> RunFolder | None:
    """Wait for a run's folder and lease; from then on, print to its log. None if the other side hangs up."""
    with origin:
        message, leases, _, _ = socket.recv_fds(origin, 65536, 1)
    if not message:
        return None
    for lease in leases:
        os.set_inheritable(lease, False)
    folder = RunFolder(Path(message.decode()))
    log = os.open(folder.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    return folder


class Driver:
    """Takes a run from its folder to one final state."""

    def __init__(self, folder: RunFolder, cancelled: threading.Event) -> None:
        self._folder = folder
        self._cancelled = cancelled
        self._lock = threading.Lock()
        self._status = RunStatus(State.STARTING, started=now())
        self._say()

    def run(self, worker: Any, session: Path) -> int:
        """Let the worker train; whatever happens, the record says so."""
        from stoker.execution.recording import Recording
        from stoker.execution.single_run import run_single

        note = self._folder.path / "ray_session"
        note.write_text(str(session), encoding="utf-8")
        recording = Recording(self._folder, load_settings(), self._announce)
        self._say(state=State.RUNNING)
        try:
            recording.start()
            result = run_single(worker, self._folder.path, self._cancelled)
            self._say(phase="recording in MLflow")
            state = FINAL[result.outcome]
            model_uri, trouble = recording.finish(result, state)
        except StokerError as error:
            return self.stop(str(error))
        finally:
            note.unlink(missing_ok=True)
        return self._end(result, state, model_uri=model_uri, message=result.message or trouble)

    def stop(self, message: str) -> int:
        """End a run that somebody cancelled before it trained, or that Stoker itself could not carry on."""
        if self._folder.cancel_request.exists():
            self._say(state=State.CANCELLED, phase="", ended=now(), exit_code=1)
            return 1
        code = CAUSES[Cause.INTERNAL].exit_code
        self._say(state=State.FAILED, cause=Cause.INTERNAL, message=message, phase="", ended=now(), exit_code=code)
        return code

    def _end(self, result: "WorkerResult", state: State, **changes: Any) -> int:
        code = CAUSES[Cause(result.cause)].exit_code if result.cause else int(state is State.CANCELLED)
        self._say(
            state=state, cause=result.cause, metrics=result.metrics, phase="", ended=now(), exit_code=code, **changes
        )
        return code

    def _announce(self, mlflow_run: str, page: str) -> None:
        """Say where the page is as soon as it exists."""
        self._say(mlflow_run=mlflow_run, url=page)

    def _say(self, **changes: Any) -> None:
        with self._lock:
            self._status = replace(self._status, **changes)
            self._folder.write_status(self._status)


def _on_terminate(cancelled: threading.Event) -> None:
    signal.signal(signal.SIGTERM, lambda *_: cancelled.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
