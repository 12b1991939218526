"""Runs on this machine: each has a driver process of its own, with an embedded Ray inside."""

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from stoker.clusters.cluster import Event
from stoker.clusters.home_folder import RUNS, disk_errors, make_home, require_space, run_folder
from stoker.clusters.local.warm_driver import DRIVER, WarmDriver, launch_driver
from stoker.clusters.new_run import Origin, new_header
from stoker.clusters.preconditions import driver_alive, require_not_final, require_not_succeeded
from stoker.errors import Cause, ClusterError, NotFound
from stoker.execution.ray_session import remove_stale_session
from stoker.settings import Settings
from stoker.tracking.run import RunRecord, RunStatus, State, cancelled
from stoker.tracking.run_folder import RunFolder

if TYPE_CHECKING:
    from stoker.job.own_code import AnyJob

DRIVER_EXIT_S = 60.0
"""A driver whose run has ended needs some of this to shut Ray down."""
POLL_S = 0.1
RAY_SESSION = "ray_session"
"""File in a run's folder that names the Ray session of its driver."""


class LocalCluster:
    """Runs on this machine."""

    poll_s = 0.2

    def __init__(self, settings: Settings, driver: Sequence[str] = DRIVER) -> None:
        self.settings = settings
        self._driver = driver

    def start_warm_driver(self, job: "AnyJob") -> WarmDriver:
        """Start a driver that prepares Ray and its workers while the job is still being planned.

        Raises:
            ClusterError: the home folder cannot be written or has no space.

        """
        home = self.settings.home
        make_home(home)
        for session in home.glob(f"{RUNS}/*/{RAY_SESSION}"):
            if not RunFolder(session.parent).has_driver():
                remove_stale_session(session)
        return launch_driver(self._driver, self.settings, job)

    def submit(self, job: "AnyJob", origin: Origin | None = None, warm_driver: WarmDriver | None = None) -> RunFolder:
        """Start a run in a driver of its own and return at once.

        Raises:
            ClusterError: the home folder cannot be written or has no space, or the driver died before it had the run.

        """
        with warm_driver or self.start_warm_driver(job) as driver:
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

    def refresh(self, folder: RunFolder) -> RunRecord:
        """Return the run's record, which is always up to date here."""
        return folder.record()

    def restart(self, folder: RunFolder, more_trials: int = 0) -> None:
        """Hand an ended run to a new driver and return at once.

        Raises:
            NotFound: it has succeeded, or its driver is alive; of several concurrent calls, all but one raise this.
            ClusterError: the home folder has no space, or the driver died before it had the run.

        """
        from stoker.jobfile.loading import load_job  # imports pydantic, which following or cancelling does without

        header = folder.header()
        places = self.settings.of_run(header.tracking_uri, header.storage)
        job = load_job(folder.resolved if folder.resolved.exists() else folder.job).job
        with LocalCluster(places, self._driver).start_warm_driver(job) as driver:
            lease = _lease_of_ended(folder, driver.process.pid)
            try:
                before, added = folder.status(), folder.more_trials()
                if more_trials:
                    folder.write_more_trials(added + more_trials)
                else:
                    require_not_succeeded(folder, before.state)
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

    def request_pause(self, folder: RunFolder) -> None:
        """Ask the driver of a run to stop at a checkpoint."""
        _request(folder, folder.pause_request)

    def request_cancel(self, folder: RunFolder) -> bool:
        """Ask the driver of a run to end it."""
        _request(folder, folder.cancel_request)
        return True

    def cancel_trial(self, trial: RunFolder) -> None:
        """Ask the driver of a sweep to end one of its trials, now or when the sweep is resumed."""
        trial.cancel_request.touch()  # without a signal, which would end all trials

    def stop_driver(self, folder: RunFolder) -> None:
        """Kill the driver of a run, and wait until it is gone."""
        if (pid := folder.driver_pid()) is None:
            return
        with suppress(ProcessLookupError):  # it has just exited
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + DRIVER_EXIT_S
        while folder.driver_pid() == pid and time.monotonic() < deadline:
            time.sleep(POLL_S)

    def close(self, folder: RunFolder) -> str:
        """Mark a run without a driver as CANCELLED; return why MLflow could not be told, or an empty string.

        Raises:
            NotFound: it has a final state, or a driver.
            ClusterError: its last driver does not exit.

        """
        from stoker.clusters.local.mlflow_run import close_mlflow_run  # half of the start time of all other commands
        from stoker.execution.sweeps.trial_folders import cancel_unfinished_trials

        lease = _lease_of_ended(folder, os.getpid())
        try:
            require_not_final(folder.record(), "cancel")
            folder.write_status(cancelled(folder.status()))
            cancel_unfinished_trials(folder)
            remove_stale_session(folder.path / RAY_SESSION)
            record = folder.record()
            return close_mlflow_run(record, self.settings.of_run(record.header.tracking_uri, record.header.storage))
        finally:
            os.close(lease)

    def remove(self, folder: RunFolder) -> None:
        """Wait until the last driver of a run has exited, and delete what is left of its Ray.

        Raises:
            ClusterError: the driver does not exit.

        """
        lease = _lease_of_ended(folder, os.getpid())
        try:
            remove_stale_session(folder.path / RAY_SESSION)
        finally:
            os.close(lease)

    def events(self, folder: RunFolder) -> list[Event]:
        """Raise NotFound: this machine records no events.

        Raises:
            NotFound: always.

        """
        run = folder.path.name
        raise NotFound(f"{run} is on this machine, which records no events; `stoker logs {run}` shows what it printed")

    def fetch_log(self, folder: RunFolder) -> None:
        """Do nothing: the log is here."""

    def fetch_model(self, folder: RunFolder) -> None:
        """Do nothing: the model is here."""

    def _create(self, job: "AnyJob", origin: Origin) -> RunFolder:
        from stoker.jobfile.loading import dump_job

        header = new_header(job, self.settings, origin)
        folder = run_folder(self.settings.home, header.id)
        files = origin.files()
        with disk_errors(self.settings.home):
            require_space(folder.path.parent)
            folder.create(header, dump_job(job), files)
        return folder


def _request(folder: RunFolder, request: Path) -> None:
    """Write a request, and wake the driver with a signal."""
    request.touch()
    if (pid := folder.driver_pid()) is not None:
        with suppress(ProcessLookupError):  # it has just exited
            os.kill(pid, signal.SIGTERM)


def _lease_of_ended(folder: RunFolder, pid: int) -> int:
    """Take the lease of a run that has ended, as soon as its last driver has exited.

    Raises:
        NotFound: another process took it first.
        ClusterError: the last driver does not exit.

    """
    deadline = time.monotonic() + DRIVER_EXIT_S
    while True:
        try:
            return folder.hold_lease(pid)
        except BlockingIOError:
            state = folder.record().state
            if not state.ended:
                raise driver_alive(folder, state) from None
            if time.monotonic() > deadline:
                message = f"{folder.path.name} is {state}, but its driver (process {folder.driver_pid()}) does not exit"
                raise ClusterError(message) from None
            time.sleep(POLL_S)
