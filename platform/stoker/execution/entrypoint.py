"""The driver's process, `python -m stoker.execution.entrypoint FOLDER`; all clusters start this.

With `--standby FD` it starts Ray and the workers before the run exists, then receives the run's folder and lease over
that socket. If the other side closes the socket instead, the process exits and leaves nothing behind.
"""

import argparse
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stoker.errors import JobError, StokerError
from stoker.execution.engines.table import LIBRARIES
from stoker.execution.ray_session import embedded_ray, remove_stale_session
from stoker.execution.ray_train.environment import set_variables
from stoker.job.own_code import CodeKind
from stoker.tracking.run import State
from stoker.tracking.run_folder import RunFolder

if TYPE_CHECKING:
    from stoker.execution.driver import Driver
    from stoker.execution.worker_group import WorkerGroup


def main() -> int:
    """Run a folder's job to a final state and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="the run's folder, with job.yaml and run.json")
    parser.add_argument("--standby", type=int, metavar="FD", help="socket that will receive folder and lease")
    parser.add_argument("--workers", type=int, default=1, help="on standby: number of workers of the job")
    parser.add_argument("--gpus", type=float, help="on standby: GPUs of each worker; default: one if there is one")
    parser.add_argument("--trials", type=int, default=0, help="on standby for a sweep: number of concurrent trials")
    parser.add_argument("--own-code", choices=("function", "script"), help="on standby: for own code of this kind")
    parser.add_argument("--inputs", type=Path, help="folder that describes a run, to drive on the current Ray cluster")
    arguments = parser.parse_args()
    terminated = threading.Event()
    _on_terminate(terminated)
    if arguments.standby is not None:
        size = RunSize(arguments.workers, arguments.gpus, arguments.trials, arguments.own_code)
        return _drive(size, socket.socket(fileno=arguments.standby), terminated)
    if arguments.inputs is not None:
        from stoker.execution.cluster_driver import run_on_cluster

        try:
            return run_on_cluster(arguments.inputs, terminated)
        except StokerError as error:
            print(error, file=sys.stderr)  # noqa: T201 - the caller's log
            return error.exit_code
    if arguments.folder is None:
        parser.error("name the run's folder")
    folder = RunFolder(arguments.folder.absolute())
    folder.hold_lease(os.getpid())
    state = folder.status().state
    if state.final:
        return folder.status().exit_code
    if state is State.PAUSED:
        folder.reopen()
    from stoker.job.concurrency import machine_cpus, trials_at_once
    from stoker.job.own_code import kind_of_code
    from stoker.jobfile.loading import load_job

    try:
        job = load_job(folder.job).job
    except JobError as error:
        from stoker.execution.driver import Driver

        return Driver(folder, terminated).stop(str(error))
    trials = trials_at_once(job, machine_cpus(), gpus=None) if job.sweep else 0
    size = RunSize(job.resources.most_workers, job.resources.gpus, trials, kind_of_code(job))
    return _drive(size, folder, terminated)


@dataclass(frozen=True)
class RunSize:
    """Ray resources of a run."""

    workers: int
    """Of the run, or of each trial of a sweep."""
    gpus: float | None
    trials: int
    """Maximum number of concurrent trials of a sweep; 0 for a single run."""
    own_code: CodeKind | None = None
    """Whether it is own code, and of which kind: Ray Train starts the workers of a function."""


def _drive(size: RunSize, origin: RunFolder | socket.socket, terminated: threading.Event) -> int:
    """Start Ray and the workers, obtain the run's folder and drive the run to its end; return the exit code."""
    from stoker.execution.attempts import GroupAttempts
    from stoker.execution.driver import Driver

    driver = None
    if isinstance(origin, RunFolder):
        remove_stale_session(origin.path / "ray_session")  # workers of a killed driver may still train
        driver = Driver(origin, terminated)
    try:
        cpus = size.workers * max(size.trials, 1)
        function = size.own_code == "function"
        libraries = () if size.own_code else LIBRARIES
        if function:
            set_variables(embedded=True)
        with embedded_ray(cpus, size.trials > 0, dashboard=function, libraries=libraries) as session:
            _on_terminate(terminated)  # ray.init installs its own handler
            if function:
                import stoker.execution.ray_train.attempts  # noqa: F401 - while the job is planned
            with nullcontext() if size.trials or function else _workers(size, libraries) as group:
                if isinstance(origin, socket.socket):
                    folder = receive_run(origin)
                    if folder is None:
                        return 0
                    driver = Driver(folder, terminated)
                assert driver is not None
                if group is not None:
                    return driver.train(GroupAttempts(group), session)
                if size.trials:
                    return _sweep(driver, size.trials, session)
                return _function(driver, session)
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit):  # Ray exits on SIGTERM while it starts
            terminated.set()
        if driver is None and isinstance(origin, socket.socket):
            folder = receive_run(origin)
            driver = Driver(folder, terminated) if folder else None
        if not terminated.is_set():
            traceback.print_exc()  # printed to the run's log, which exists by now
        return driver.stop(f"{type(error).__name__}: {error}") if driver else 1


@contextmanager
def _workers(size: RunSize, libraries: Sequence[str]) -> "Iterator[WorkerGroup]":
    from stoker.execution.worker_group import WorkerGroup

    group = WorkerGroup(size.workers, size.gpus, spare=True, libraries=libraries)
    try:
        yield group
    finally:
        group.close()


def _function(driver: "Driver", session: Path) -> int:
    from stoker.execution.ray_train.attempts import RayTrainAttempts
    from stoker.execution.resolved_job import load_run_job
    from stoker.job.own_code import CodeJob

    job = load_run_job(driver.folder)
    assert isinstance(job, CodeJob)
    return driver.train(RayTrainAttempts(job, shared_disk=True), session)


def _sweep(driver: "Driver", trials: int, session: Path) -> int:
    from stoker.execution.sweeps.driver import SweepDriver, SweepPlacement

    sweep = SweepDriver(driver, SweepPlacement(trials, shared_disk=True, session=session))
    return driver.run(sweep.run, session)


def receive_run(origin: socket.socket) -> RunFolder | None:
    """Receive a run's folder and lease, and redirect output to the run's log; None if the other side hangs up."""
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


def _on_terminate(terminated: threading.Event) -> None:
    signal.signal(signal.SIGTERM, lambda *_: terminated.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
