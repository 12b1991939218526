"""The machine at hand: each run has a driver process of its own, with an embedded Ray inside."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from stoker.errors import Cause, ClusterError, NotFound
from stoker.execution.ray_session import sweep_session
from stoker.settings import Settings, without_password
from stoker.tracking.record import RunFolder, RunHeader, RunRecord, RunStatus, State

if TYPE_CHECKING:
    from stoker.spec.job import Job

FREE_BYTES = 200 * 1024 * 1024
"""A run needs about this much for its record and for Ray's session."""


class LocalCluster:
    """Submits, follows and ends runs on this machine."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def stand_by(self, job: "Job") -> "Standby":
        """Start a driver that gets Ray and its worker ready while the job is still being planned.

        Raises:
            ClusterError: the home folder cannot be written or has no space.

        """
        home = self.settings.home
        try:
            (home / "runs").mkdir(parents=True, exist_ok=True)
            require_space(home)
        except OSError as error:
            raise _unusable(home, error) from error
        for note in home.glob("runs/*/ray_session"):
            if not RunFolder(note.parent).driver_lives():
                sweep_session(note)
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-m", "stoker.execution.entrypoint", "--standby", str(theirs.fileno())]
        if job.resources.gpus is not None:
            command += ["--gpus", str(job.resources.gpus)]
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=home,
                env=driver_environment(self.settings),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # closing the terminal harms nothing
            )
        return Standby(process, ours)

    def submit(self, job: "Job", standby: "Standby | None" = None) -> RunFolder:
        """Give a run to a driver of its own and return at once.

        Raises:
            ClusterError: the home folder cannot be written or has no space, or the driver ended before it had the run.

        """
        with standby or self.stand_by(job) as driver:
            folder = self._create(job)
            lease = folder.hold_lease(driver.process.pid)
            try:
                socket.send_fds(driver.socket, [str(folder.path).encode()], [lease])
            except OSError as error:
                message = "its driver was killed before it had the run; submit it again"
                folder.write_status(RunStatus(State.FAILED, cause=Cause.INTERNAL, message=message, exit_code=1))
                raise ClusterError(f"{folder.path.name}: {message}") from error
            finally:
                os.close(lease)
        return folder

    def cancel(self, folder: RunFolder) -> None:
        """Ask a run to end.

        Raises:
            NotFound: nothing works on it any more.

        """
        pid = folder.driver_pid()
        if pid is None:
            raise NotFound(f"{folder.path.name} is {folder.record().state}: nothing to cancel")
        folder.cancel_request.touch()
        with suppress(ProcessLookupError):  # it ended in this moment
            os.kill(pid, signal.SIGTERM)

    def follow(self, folder: RunFolder, every_s: float = 0.2) -> Iterator[RunRecord]:
        """Yield the run's record again and again, the last time when nobody works on it any more."""
        while True:
            record = folder.record()
            yield record
            if record.state.ended:
                return
            time.sleep(every_s)

    def _create(self, job: "Job") -> RunFolder:
        from stoker.spec.loading import dump_job  # who only follows or cancels does not pay for pydantic

        assert job.name is not None
        name = job.name
        tracking = job.tracking
        header = RunHeader(
            id=f"{name}-{secrets.token_hex(4)}",
            name=name,
            task=job.task,
            family=job.architecture.family if job.architecture else "",
            dataset=Path(job.dataset.source).name,
            created=time.time(),
            order=time.time_ns(),
            tracking_uri="" if tracking == "none" else without_password(self.settings.tracking_uri),
            experiment="" if tracking == "none" else (tracking.experiment or name),
        )
        folder = RunFolder(self.settings.home / "runs" / header.id)
        try:
            folder.path.parent.mkdir(parents=True, exist_ok=True)
            require_space(folder.path.parent)
            folder.create(header, dump_job(job))
        except OSError as error:
            raise _unusable(self.settings.home, error) from error
        return folder


class Standby:
    """A driver without a run. Leave the block without submitting one, and it goes away."""

    def __init__(self, process: "subprocess.Popen[bytes]", connection: socket.socket) -> None:
        self.process = process
        self.socket = connection

    def __enter__(self) -> "Standby":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def require_space(folder: Path) -> None:
    """Refuse a run where the disk is all but full.

    Raises:
        ClusterError: less than FREE_BYTES are free.

    """
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if free < FREE_BYTES:
        raise ClusterError(
            f"no space for the run: {free // 2**20} MiB are free in {folder}, {FREE_BYTES // 2**20} MiB are needed; "
            "free some or set STOKER_HOME to another folder"
        )


def _unusable(home: Path, error: OSError) -> ClusterError:
    return ClusterError(f"cannot make a run in {home}: {error.strerror}; mend it or set STOKER_HOME to another folder")


def driver_environment(settings: Settings) -> dict[str, str]:
    """Build the environment of a driver: the user's own, and what must be set before Ray and MLflow load."""
    return {
        **os.environ,
        "STOKER_HOME": str(settings.home),
        "MLFLOW_TRACKING_URI": settings.tracking_uri,
        "PYTHONUNBUFFERED": "1",
    }
