"""A driver process that starts Ray before it has a run, and the socket over which it receives the run."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stoker.clusters.new_run import DRIVER_MODULE
from stoker.settings import Settings
from stoker.tracking.run_folder import RunFolder

if TYPE_CHECKING:
    from stoker.job.own_code import AnyJob

DRIVER = (sys.executable, "-P", "-m", DRIVER_MODULE)
"""Command of a driver."""


class WarmDriver:
    """A driver without a run; it exits when the `with` block ends before it has received one."""

    def __init__(self, process: "subprocess.Popen[bytes]", connection: socket.socket) -> None:
        self.process = process
        self._socket = connection

    def __enter__(self) -> "WarmDriver":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def hand_over(self, folder: RunFolder, lease: int) -> None:
        """Send the driver a run and its lease.

        Raises:
            OSError: the driver has died.

        """
        socket.send_fds(self._socket, [str(folder.path).encode()], [lease])


def launch_driver(command: Sequence[str], settings: Settings, job: "AnyJob") -> WarmDriver:
    """Start a driver that prepares for the resources of a job."""
    from stoker.job.own_code import kind_of_code

    resources = job.resources
    ours, theirs = socket.socketpair()
    options = ["--standby", str(theirs.fileno()), "--workers", str(resources.most_workers)]
    if resources.gpus is not None:
        options += ["--gpus", str(resources.gpus)]
    if kind := kind_of_code(job):
        options += ["--own-code", kind]
    if job.sweep:
        from stoker.job.concurrency import machine_cpus, trials_at_once

        options += ["--trials", str(trials_at_once(job, machine_cpus(), gpus=None))]
    with theirs:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [*command, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=settings.home,
            env=driver_environment(settings),
            pass_fds=(theirs.fileno(),),
            start_new_session=True,  # it outlives the terminal
        )
    return WarmDriver(process, ours)


def driver_environment(settings: Settings) -> dict[str, str]:
    """Return the environment of a driver: the user's own, and variables that Ray and MLflow read when imported."""
    return {
        **os.environ,
        "STOKER_HOME": str(settings.home),
        "MLFLOW_TRACKING_URI": settings.tracking_uri,
        "STOKER_STORAGE": settings.storage,
        "PYTHONUNBUFFERED": "1",
    }
