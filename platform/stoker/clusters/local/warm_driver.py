"""A driver that gets ready before it has a run, and the socket over which the run reaches it."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stoker.settings import Settings
from stoker.tracking.record import RunFolder

if TYPE_CHECKING:
    from stoker.job.job import Job

DRIVER = (sys.executable, "-P", "-m", "stoker.execution.entrypoint")
"""The command of a driver."""


class Standby:
    """A driver without a run. Leave the block without handing one over, and it goes away."""

    def __init__(self, process: "subprocess.Popen[bytes]", connection: socket.socket) -> None:
        self.process = process
        self._socket = connection

    def __enter__(self) -> "Standby":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def hand_over(self, folder: RunFolder, lease: int) -> None:
        """Give the driver a run and its lease.

        Raises:
            OSError: the driver is gone.

        """
        socket.send_fds(self._socket, [str(folder.path).encode()], [lease])


def start_driver(command: Sequence[str], settings: Settings, job: "Job") -> Standby:
    """Start a driver for a job like this one."""
    resources = job.resources
    ours, theirs = socket.socketpair()
    options = ["--standby", str(theirs.fileno()), "--workers", str(resources.workers)]
    if resources.gpus is not None:
        options += ["--gpus", str(resources.gpus)]
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
            start_new_session=True,  # closing the terminal harms nothing
        )
    return Standby(process, ours)


def driver_environment(settings: Settings) -> dict[str, str]:
    """Build the environment of a driver: the user's own, and what must be set before Ray and MLflow load."""
    return {
        **os.environ,
        "STOKER_HOME": str(settings.home),
        "MLFLOW_TRACKING_URI": settings.tracking_uri,
        "STOKER_STORAGE": settings.storage,
        "PYTHONUNBUFFERED": "1",
    }
