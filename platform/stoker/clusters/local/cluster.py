"""The machine at hand: each run has a driver process of its own, with an embedded Ray inside."""

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stoker.clusters.home_folder import make_home, require_space, usable
from stoker.clusters.kubernetes.events import Event
from stoker.clusters.local.warm_driver import DRIVER, Standby, start_driver
from stoker.clusters.preconditions import (
    alive,
    require_open,
    require_resumable,
    require_success,
    require_unfinished,
    require_whole,
)
from stoker.errors import Cause, ClusterError, NotFound
from stoker.execution.ray_session import sweep_session
from stoker.settings import Settings, without_password
from stoker.tracking.record import RunFolder
from stoker.tracking.run import RunHeader, RunRecord, RunStatus, State, cancelled, new_run_id

if TYPE_CHECKING:
    from stoker.job.job import Job

DRIVER_GOES_S = 60.0
"""A driver whose run has ended needs some of this to put Ray away."""
POLL_S = 0.1


@dataclass(frozen=True)
class Origin:
    """Where a new run comes from, apart from its job."""

    code: Path | None = None
    """Folder of the user's own modules, which go with the run."""
    extends: str = ""
    """Id of the finished run that it goes on from."""
    key: str = ""
    run: str = ""
    """The id that was claimed for the key; default: a new one."""

    def files(self) -> dict[str, Path]:
        """Find the user's own files, by their path below the folder of the code.

        Raises:
            JobError: they are too many or too large.

        """
        from stoker.jobfile.code import code_files

        return {str(path.relative_to(self.code)): path for path in code_files(self.code)} if self.code else {}


class LocalCluster:
    """Submits, rests and ends runs on this machine."""

    poll_s = 0.2

    def __init__(self, settings: Settings, driver: Sequence[str] = DRIVER) -> None:
        self.settings = settings
        self._driver = driver

    def stand_by(self, job: "Job") -> Standby:
        """Start a driver that gets Ray and its workers ready while the job is still being planned.

        Raises:
            ClusterError: the home folder cannot be written or has no space.

        """
        home = self.settings.home
        make_home(home)
        for note in home.glob("runs/*/ray_session"):
            if not RunFolder(note.parent).driver_lives():
                sweep_session(note)
        return start_driver(self._driver, self.settings, job)

    def submit(self, job: "Job", standby: Standby | None = None, origin: Origin | None = None) -> RunFolder:
        """Give a run to a driver of its own and return at once.

        Raises:
            ClusterError: the home folder cannot be written or has no space, or the driver ended before it had the run.

        """
        with standby or self.stand_by(job) as driver:
            folder = self._create(job, origin or Origin())
            lease = folder.hold_lease(driver.process.pid)
            try:
                driver.hand_over(folder, lease)
            except OSError as error:
                message = "its driver was killed before it had the run; submit it again"
                folder.write_status(RunStatus(State.FAILED, cause=Cause.INTERNAL, message=message, exit_code=1))
                raise ClusterError(f"{folder.path.name}: {message}") from error
            finally:
                os.close(lease)
        return folder

    def resume(self, folder: RunFolder) -> None:
        """Give an ended run to a new driver and return at once: its next attempt begins at its newest checkpoint.

        Raises:
            NotFound: it has succeeded, or its driver lives; of several that resume it at once, all but one get this.
            ClusterError: the home folder has no space, or the driver ended before it had the run.

        """
        require_resumable(folder)
        self._start_again(folder, more_trials=0)

    def extend(self, folder: RunFolder, trials: int) -> None:
        """Let a sweep that has succeeded go on with more trials, and return at once.

        Raises:
            NotFound: it has not succeeded; of several that extend it at once, all but one get this.
            ClusterError: the home folder has no space, or the driver ended before it had the run.

        """
        require_success(folder)
        self._start_again(folder, trials)

    def _start_again(self, folder: RunFolder, more_trials: int) -> None:
        from stoker.jobfile.loading import load_job  # who only follows or cancels does not pay for pydantic

        header = folder.header()
        places = self.settings.of_run(header.tracking_uri, header.storage)
        job = load_job(folder.resolved if folder.resolved.exists() else folder.job).job
        with LocalCluster(places, self._driver).stand_by(job) as driver:
            lease = _lease_of_ended(folder, driver.process.pid)
            try:
                before, added = folder.status(), folder.more_trials()
                if more_trials:
                    folder.write_more_trials(added + more_trials)
                else:
                    require_unfinished(folder, before.state)
                folder.reopen()
                try:
                    driver.hand_over(folder, lease)
                except OSError as error:
                    folder.write_status(before)
                    if more_trials:
                        folder.write_more_trials(added)
                    message = "its driver was killed before it had the run; resume it again"
                    raise ClusterError(f"{folder.path.name}: {message}") from error
            finally:
                os.close(lease)

    def pause(self, folder: RunFolder) -> None:
        """Ask a run to rest at a checkpoint.

        Raises:
            NotFound: nothing works on it any more, or it is a trial.

        """
        require_whole(folder, "pause")
        record = folder.record()
        if record.state.ended:
            raise NotFound(f"{record.id} is {record.state}: nothing to pause")
        _ask(folder, folder.pause_request)

    def cancel(self, folder: RunFolder) -> str:
        """Ask a run to end, or end one that nothing works on at once; a trial ends when its sweep next looks.

        Returns:
            Why MLflow still shows a run that was ended here as it was; empty where it does not.

        Raises:
            NotFound: it has ended for good.

        """
        state = folder.record().state
        if folder.sweep:
            require_open(folder, state)
            folder.cancel_request.touch()  # its driver is that of all trials, and a signal would end them all
            return ""
        if not state.ended:
            _ask(folder, folder.cancel_request)
            return ""
        from stoker.clusters.local.mlflow_run import close_page  # half of the start of all other commands
        from stoker.execution.sweeps.folders import cancel_trials

        require_open(folder, state)
        lease = _lease_of_ended(folder, os.getpid())
        try:
            status = folder.status()
            require_open(folder, status.state)
            folder.write_status(cancelled(status))
            cancel_trials(folder)
            sweep_session(folder.path / "ray_session")
            record = folder.record()
            return close_page(record, self.settings.of_run(record.header.tracking_uri, record.header.storage))
        finally:
            os.close(lease)

    def kill(self, folder: RunFolder) -> str:
        """End a run at once, without a checkpoint; return what its page in MLflow did not come to know, or nothing.

        A trial is asked to end, as by `cancel`: it shares its processes with others.

        Raises:
            NotFound: it has ended for good.

        """
        require_open(folder, folder.record().state)
        if not folder.sweep and (pid := folder.driver_pid()) is not None:
            with suppress(ProcessLookupError):  # it ended in this moment
                os.kill(pid, signal.SIGKILL)
            deadline = time.monotonic() + DRIVER_GOES_S
            while folder.driver_pid() == pid and time.monotonic() < deadline:
                time.sleep(POLL_S)
        return self.cancel(folder)

    def events(self, folder: RunFolder) -> list[Event]:
        """Raise NotFound: this machine has nobody who would tell, but the log."""
        run = folder.path.name
        raise NotFound(f"{run} is on this machine, which keeps no events; `stoker logs {run}` shows what it printed")

    def fetch_model(self, folder: RunFolder) -> None:
        """Do nothing: the model is here."""

    def refresh(self, folder: RunFolder) -> RunRecord:
        """Read the run's record: here it is always up to date."""
        return folder.record()

    def fetch_log(self, folder: RunFolder) -> None:
        """Do nothing: the log is here."""

    def _create(self, job: "Job", origin: Origin) -> RunFolder:
        from stoker.jobfile.loading import dump_job

        header = new_header(job, self.settings, origin)
        folder = RunFolder(self.settings.home / "runs" / header.id)
        files = origin.files()
        with usable(self.settings.home):
            require_space(folder.path.parent)
            folder.create(header, dump_job(job), files)
        return folder


def new_header(job: "Job", settings: Settings, origin: Origin) -> RunHeader:
    """Say who a new run is."""
    assert job.name is not None
    tracking = job.tracking
    return RunHeader(
        id=origin.run or new_run_id(job.name),
        name=job.name,
        task=job.task,
        family=job.architecture.family if job.architecture else "",
        dataset=Path(job.dataset.source).name,
        created=time.time(),
        order=time.time_ns(),
        tracking_uri="" if tracking == "none" else without_password(settings.tracking_uri),
        experiment="" if tracking == "none" else (tracking.experiment or job.name),
        key=origin.key,
        extends=origin.extends,
        storage=settings.storage,
    )


def _ask(folder: RunFolder, request: Path) -> None:
    """Leave a request, and wake the driver."""
    request.touch()
    if (pid := folder.driver_pid()) is not None:
        with suppress(ProcessLookupError):  # it ended in this moment
            os.kill(pid, signal.SIGTERM)


def _lease_of_ended(folder: RunFolder, pid: int) -> int:
    """Take the lease of a run that has ended as soon as its last driver is gone.

    Raises:
        NotFound: somebody else was faster.
        ClusterError: the last driver does not go.

    """
    deadline = time.monotonic() + DRIVER_GOES_S
    while True:
        try:
            return folder.hold_lease(pid)
        except BlockingIOError:
            state = folder.record().state
            if not state.ended:
                raise alive(folder, state) from None
            if time.monotonic() > deadline:
                message = f"{folder.path.name} is {state}, but its driver (process {folder.driver_pid()}) does not end"
                raise ClusterError(message) from None
            time.sleep(POLL_S)
