"""An existing Ray cluster: each run is a job of its dashboard's HTTP API, and the client may disconnect at any time.

The local folder of such a run is like that of any other, updated from the cluster on request. The client imports
neither torch nor ray nor mlflow.

The cluster's image contains this version of Stoker. Credentials of the storage (AWS_ACCESS_KEY_ID, ...) and of MLflow
(MLFLOW_TRACKING_USERNAME, ...) are in the environment of every node's `ray start`. None are sent with a job, since
everybody who reaches the cluster can read a job's description. For Ray, all of them are one user.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from stoker.clusters.cluster import Event
from stoker.clusters.home_folder import make_home, run_folder
from stoker.clusters.mlflow_api import MlflowApi, cancel_mlflow_run, login_from_environment
from stoker.clusters.new_run import Origin, new_header
from stoker.clusters.preconditions import require_running_sweep
from stoker.clusters.ray.capacity import Node, require_capacity
from stoker.clusters.ray.job_request import inputs_package, job_request, package_name, require_supported, submission_id
from stoker.clusters.ray.job_states import STATES, has_report, reported_progress, run_status
from stoker.clusters.ray.jobs_api import JobsApi
from stoker.clusters.restart import Restart
from stoker.clusters.trial_sync import added_trials, sync_trials, trial_cancel_request
from stoker.config_file import config_path
from stoker.errors import ClusterError, NotFound, Unreachable
from stoker.execution.contract import request_package
from stoker.job.concurrency import planned_trials
from stoker.jobfile.loading import dump_job, load_job
from stoker.settings import RayClusterSettings, Settings, is_server, without_password
from stoker.tracking.run import RunHeader, RunRecord, cancelled
from stoker.tracking.run_folder import RunFolder

if TYPE_CHECKING:
    from stoker.job.own_code import AnyJob

POLL_S = 1.0
JOBS = "/api/jobs"
PACKAGES = "/api/packages/gcs"
NODES = "/api/v0/nodes?detail=1&limit=10000"
NO_AGENT = "No available agent"
"""Ray's error while a head node that was just started is not ready."""
HEAD_READY_S = 30.0
DRIVER_EXIT_S = 30.0
"""Ray gives the process of a stopped job some seconds to end by itself."""


class RayCluster:
    """Runs on one existing Ray cluster."""

    poll_s = POLL_S

    def __init__(self, settings: Settings, cluster: RayClusterSettings) -> None:
        self.settings = settings
        self._cluster = cluster
        self._api = JobsApi(cluster)

    def submit(self, job: "AnyJob", origin: Origin | None = None) -> RunFolder:
        """Start a run and return at once.

        Raises:
            JobError: the cluster will never have what the job asks for.
            ClusterError: the cluster refuses; the message quotes it.
            Unreachable: it does not answer.

        """
        origin = origin or Origin()
        header = self._header(job, origin)
        require_supported(job)
        self._require_capacity(job)
        package = self._upload(inputs_package(job, header, origin.file_contents()))
        make_home(self.settings.home)
        folder = run_folder(self.settings.home, header.id)
        folder.create(header, dump_job(job), origin.files())
        try:
            self._start(job_request(job, header, package))
        except Unreachable:  # the request may have arrived; a later refresh will show
            raise
        except ClusterError:
            shutil.rmtree(folder.path)
            raise
        return folder

    def refresh(self, folder: RunFolder) -> RunRecord:
        """Update the local folder of a run, or of a trial and its sweep, and return its record.

        Raises:
            ClusterError: the cluster refuses; the message quotes it.
            Unreachable: it does not answer.

        """
        whole = folder.sweep or folder
        self._update(whole)
        sync_trials(whole, self._mlflow)
        return folder.record()

    def restart(self, folder: RunFolder, more_trials: int = 0) -> None:
        """Start the next attempt of a run as another job of the cluster.

        Raises:
            JobError: the cluster has become too small for it.
            ClusterError: the cluster refuses; the message quotes it.
            Unreachable: it does not answer.

        """
        header, job, before = folder.header(), load_job(folder.job).job, folder.status()
        self._require_capacity(job)
        self.fetch_log(folder)
        package = self._upload(inputs_package(job, header, folder.code_content()))
        restart = Restart(os.urandom(4).hex(), added_trials(folder, job) + more_trials)
        folder.reopen(restart.id)
        try:
            self._start(job_request(job, header, package, restart))
        except Unreachable:  # the request may have arrived
            raise
        except ClusterError:
            folder.write_status(before)
            raise

    def request_pause(self, folder: RunFolder) -> None:
        """Ask the driver of a run to stop at a checkpoint."""
        self._request(folder, "pause")

    def request_cancel(self, folder: RunFolder) -> bool:
        """Ask the driver of a run to end it; stop a job whose driver has not reported yet, and return False."""
        self._request(folder, "cancel")
        job = self._api.get(_job_path(folder))
        if job is not None and has_report(job):
            return True
        self._api.post(f"{_job_path(folder)}/stop")  # a driver that starts all the same reads the request
        return False

    def cancel_trial(self, trial: RunFolder) -> None:
        """Ask the driver of a sweep to end one of its trials.

        Raises:
            NotFound: the sweep has no driver.

        """
        require_running_sweep(trial)
        assert trial.sweep is not None
        self._request(trial.sweep, trial_cancel_request(trial))

    def stop_driver(self, folder: RunFolder) -> None:
        """Stop the job of a run, and wait until its driver has exited."""
        self._request(folder, "cancel")  # for a driver that starts all the same
        self._api.post(f"{_job_path(folder)}/stop")
        deadline = time.monotonic() + DRIVER_EXIT_S
        while not self.refresh(folder).state.ended and time.monotonic() < deadline:
            time.sleep(POLL_S)

    def close(self, folder: RunFolder) -> str:
        """Mark a run without a driver as CANCELLED; return why MLflow could not be told, or an empty string."""
        status = folder.status()
        if status.state.final:  # the driver has read the request, or the run has just ended
            return ""
        folder.write_status(cancelled(status))
        return cancel_mlflow_run(folder.header(), self._mlflow) if status.mlflow_run else ""

    def remove(self, folder: RunFolder) -> None:
        """Delete the job of the run's last attempt from Ray's list, once Ray has seen its end."""
        deadline = time.monotonic() + DRIVER_EXIT_S
        while (job := self._api.get(_job_path(folder))) is not None and time.monotonic() < deadline:
            if job["status"] in STATES and STATES[job["status"]].ended:
                self._api.delete(_job_path(folder))
            time.sleep(POLL_S)  # Ray may write the job's end once more

    def events(self, folder: RunFolder) -> list[Event]:
        """Raise NotFound: an existing Ray cluster records no events of a run.

        Raises:
            NotFound: always.

        """
        run = folder.path.name
        raise NotFound(f"{run} is on a Ray cluster, which records no events; `stoker logs {run}` shows what it printed")

    def fetch_model(self, folder: RunFolder) -> None:
        """Do nothing: commands load it from MLflow directly."""

    def fetch_log(self, folder: RunFolder) -> None:
        """Download what the run has printed so far; keep the local log where the cluster has lost its own."""
        folder = folder.sweep or folder
        try:
            answer = self._api.get(f"{_job_path(folder)}/logs")
        except Unreachable:
            raise
        except ClusterError:  # its node is gone, or the log file does not exist yet
            return
        content = str((answer or {}).get("logs", "")).encode()
        if content:
            local = folder.log.read_bytes() if folder.log.exists() else b""
            draft = folder.path / ".log.new"
            draft.write_bytes(merged_log(local, content))
            draft.replace(folder.log)

    def nodes(self) -> list[Node]:
        """Return the total resources of each node.

        Raises:
            ClusterError: the cluster refuses; the message quotes it.
            Unreachable: it does not answer, or has no node yet.

        """
        answer = self._api.get(NODES) or {}
        found = answer.get("data", {}).get("result", {}).get("result", [])
        nodes = [node.get("resources_total") or {} for node in found if node.get("state") == "ALIVE"]
        if not nodes:
            raise Unreachable(f"cluster '{self._cluster.name}' has no node yet: its head node is still starting")
        return nodes

    def _require_capacity(self, job: "AnyJob") -> None:
        require_capacity(job.resources, self.nodes(), planned_trials(job, 1) if job.sweep else 0)

    def _header(self, job: "AnyJob", origin: Origin) -> RunHeader:
        """Return the header of a new run with the cluster's storage and MLflow."""
        cluster = self._cluster
        header = replace(new_header(job, self.settings, origin), cluster=cluster.name, storage=cluster.storage)
        if job.tracking == "none":
            return header
        if not cluster.tracking_uri:
            cure = "give MLflow's address as its nodes reach it, or set tracking: none in the job"
            raise ClusterError(f"cluster '{cluster.name}' has no tracking_uri in {config_path()}; {cure}")
        return replace(header, tracking_uri=without_password(cluster.tracking_uri))

    @contextmanager
    def _mlflow(self) -> Iterator[MlflowApi]:
        """Yield a client of the MLflow that records the cluster's runs.

        Raises:
            Unreachable: it is a store on the cluster's nodes, not a server.

        """
        uri = urlsplit(self._cluster.tracking_uri)
        if not is_server(self._cluster.tracking_uri):
            raise Unreachable(f"{without_password(self._cluster.tracking_uri)} is not a server")
        user, password = unquote(uri.username or ""), unquote(uri.password or "")
        if not user:
            user, password = login_from_environment()
        yield MlflowApi(uri._replace(netloc=uri.netloc.rpartition("@")[2]).geturl(), user, password)

    def _update(self, folder: RunFolder) -> None:
        """Update the folder of a run that is not a trial."""
        record = folder.record()
        if record.state.final:
            return
        job: dict[str, Any] | None = self._api.get(_job_path(folder))
        status = run_status(job, record.status)
        if job is not None and (progress := reported_progress(job)):
            folder.write_progress(progress)
        if status != record.status:
            folder.write_status(status)

    def _upload(self, content: bytes) -> str:
        """Upload a package unless Ray has it; asking for it makes Ray keep it for ten minutes."""
        name = package_name(content)
        if not self._api.has(f"{PACKAGES}/{name}"):
            self._api.put(f"{PACKAGES}/{name}", content)
        return name

    def _start(self, request: dict[str, Any]) -> None:
        deadline = time.monotonic() + HEAD_READY_S
        while True:
            try:
                self._api.post(f"{JOBS}/", request)
            except ClusterError as error:
                if NO_AGENT not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(POLL_S)
            else:
                return

    def _request(self, folder: RunFolder, request: str) -> None:
        self._api.put(f"{PACKAGES}/{request_package(_submission(folder))}", request.encode())


def merged_log(local: bytes, current: bytes) -> bytes:
    """Append the log of a run's newest job to those of earlier ones; the first line of each contains its time.

    Args:
        local: the log so far, perhaps with a part of the newest one.
        current: the newest one.

    """
    first = current.partition(b"\n")[0]
    at = local.find(first)
    return (local if at < 0 else local[:at]) + current


def _submission(folder: RunFolder) -> str:
    return submission_id(folder.path.name, folder.status().reopened)


def _job_path(folder: RunFolder) -> str:
    return f"{JOBS}/{_submission(folder)}"
