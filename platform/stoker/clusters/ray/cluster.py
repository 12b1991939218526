"""A standing Ray cluster, by the HTTP API of its dashboard: each run is a job there, and this client may vanish.

What this home knows of such a run is a folder like any other one's, brought up to date from the cluster when somebody
asks. The client imports neither torch nor ray nor mlflow.

The cluster's image holds this version of Stoker. Credentials of the storage (AWS_ACCESS_KEY_ID, ...) and of MLflow
(MLFLOW_TRACKING_USERNAME, ...) are in the environment that every node's `ray start` had: a job's own description can be
read by all who reach the cluster, so none go with it. All who reach it are one user, to Ray.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from stoker.clusters.home_folder import make_home
from stoker.clusters.kubernetes.events import Event
from stoker.clusters.local.cluster import Origin, new_header
from stoker.clusters.mlflow_api import Pages, end_page
from stoker.clusters.preconditions import (
    require_driver,
    require_open,
    require_resumable,
    require_success,
    require_whole,
)
from stoker.clusters.ray.capacity import Node, require_room
from stoker.clusters.ray.job_request import inputs_package, job_request, package_name, require_possible, submission_id
from stoker.clusters.ray.job_states import progress_of, run_status, spoke
from stoker.clusters.ray.jobs_api import RayApi
from stoker.clusters.restart import Again
from stoker.clusters.trial_sync import added_trials, fetch_trials, trial_request
from stoker.config_file import config_path
from stoker.errors import ClusterError, NotFound, Unreachable
from stoker.execution.contract import request_package
from stoker.job.concurrency import planned_trials
from stoker.jobfile.loading import dump_job, load_job
from stoker.settings import RayClusterSettings, Settings, is_server, without_password
from stoker.tracking.record import RunFolder
from stoker.tracking.run import RunRecord, cancelled

if TYPE_CHECKING:
    from stoker.job.job import Job

POLL_S = 1.0
NODES = "/api/v0/nodes?detail=1&limit=10000"
NO_AGENT = "No available agent"
"""Ray's word while a head that was just started gets ready."""
GETS_READY_S = 30.0
DRIVER_GOES_S = 30.0
"""Ray lets the process of a job that is stopped end by itself for some seconds."""


class RayAddressCluster:
    """Submits, rests and ends runs on one standing Ray."""

    poll_s = 1.0

    def __init__(self, settings: Settings, cluster: RayClusterSettings) -> None:
        self.settings = settings
        self._cluster = cluster
        self._api = RayApi(cluster)

    def submit(self, job: "Job", origin: Origin | None = None) -> RunFolder:
        """Give a run to the cluster and return at once.

        Raises:
            JobError: the cluster does not have what the job asks for, and never will.
            ClusterError: the cluster refuses, with its words.
            Unreachable: it does not answer.

        """
        origin = origin or Origin()
        header = self._placed(job, origin)
        require_possible(job)
        require_room(job.resources, self.nodes(), planned_trials(job, 1) if job.sweep else 0)
        files = origin.files()
        package = self._upload(inputs_package(job, header, {name: path.read_bytes() for name, path in files.items()}))
        make_home(self.settings.home)
        folder = RunFolder(self.settings.home / "runs" / header.id)
        folder.create(header, dump_job(job), files)
        try:
            self._start(job_request(job, header, package))
        except Unreachable:  # it may have heard us: whoever asks for the run later will see
            raise
        except ClusterError:
            shutil.rmtree(folder.path)
            raise
        return folder

    def refresh(self, folder: RunFolder) -> RunRecord:
        """Bring this home's folder of a run, or of a trial and its sweep, up to date, and return its record.

        Raises:
            ClusterError: the cluster refuses, with its words.
            Unreachable: it does not answer.

        """
        whole = folder.sweep or folder
        self._look(whole)
        fetch_trials(whole, self._pages)
        return folder.record()

    def resume(self, folder: RunFolder) -> None:
        """Let a run that did not come to its end go on, as another job of the cluster.

        Raises:
            NotFound: it has succeeded, or goes on.
            JobError: the cluster has become too small for it.
            ClusterError: the cluster refuses, with its words.
            Unreachable: it does not answer.

        """
        self.refresh(folder)
        require_resumable(folder)
        self._start_again(folder)

    def extend(self, folder: RunFolder, trials: int) -> None:
        """Let a sweep that has succeeded go on with more trials, as another job of the cluster; raises as `resume`."""
        self.refresh(folder)
        require_success(folder)
        self._start_again(folder, trials)

    def _start_again(self, folder: RunFolder, trials: int = 0) -> None:
        header, job, before = folder.header(), load_job(folder.job).job, folder.status()
        require_room(job.resources, self.nodes(), planned_trials(job, 1) if job.sweep else 0)
        self.fetch_log(folder)
        package = self._upload(inputs_package(job, header, folder.code_content()))
        word = os.urandom(4).hex()
        folder.reopen(word)
        try:
            self._start(job_request(job, header, package, Again(word, added_trials(folder, job) + trials)))
        except Unreachable:  # it may have heard us
            raise
        except ClusterError:
            folder.write_status(before)
            raise

    def pause(self, folder: RunFolder) -> None:
        """Ask a run to rest at a checkpoint.

        Raises:
            NotFound: nothing works on it, or it is a trial.

        """
        require_whole(folder, "pause")
        record = self.refresh(folder)
        if record.state.ended:
            raise NotFound(f"{record.id} is {record.state}: nothing to pause")
        self._request(record, "pause")

    def cancel(self, folder: RunFolder) -> str:
        """Ask a run to end, with a checkpoint; one that rests, or whose driver has not begun, ends at once.

        A trial ends alone.

        Returns:
            Why MLflow still shows a run that was ended here as it was; empty where it does not.

        Raises:
            NotFound: it has ended for good.

        """
        if sweep := folder.sweep:
            require_open(folder, self.refresh(folder).state)
            require_driver(sweep)
            self._request(sweep.record(), trial_request(folder))
            return ""
        job, record = self._look(folder), folder.record()
        require_open(folder, record.state)
        if job is not None and not record.state.ended:
            self._request(record, "cancel")
            if spoke(job):
                return ""
            self._api.post(f"/api/jobs/{_submission(record)}/stop")  # who begins all the same hears the request
        return self._end(folder)

    def kill(self, folder: RunFolder) -> str:
        """End a run at once, without a checkpoint; a trial is asked to end, as by `cancel`.

        Returns:
            Why MLflow still shows a run that was ended here as it was; empty where it does not.

        Raises:
            NotFound: it has ended for good.

        """
        if folder.sweep:
            return self.cancel(folder)
        record = self.refresh(folder)
        if record.state.final:
            raise NotFound(f"{record.id} is {record.state}: nothing to kill")
        if not record.state.ended:
            self._request(record, "cancel")  # for a driver that begins all the same
            self._api.post(f"/api/jobs/{_submission(record)}/stop")
            deadline = time.monotonic() + DRIVER_GOES_S
            while not self.refresh(folder).state.ended and time.monotonic() < deadline:
                time.sleep(POLL_S)
            if folder.record().state.final:  # it has heard the request, or came to its end
                return ""
        return self._end(folder)

    def events(self, folder: RunFolder) -> list[Event]:
        """Raise NotFound: a standing Ray keeps no events of a run."""
        run = folder.path.name
        raise NotFound(f"{run} is on a standing Ray, which keeps no events; `stoker logs {run}` shows what it printed")

    def fetch_model(self, folder: RunFolder) -> None:
        """Do nothing: it is fetched from MLflow itself."""

    def fetch_log(self, folder: RunFolder) -> None:
        """Bring what the run has printed so far to this home; what is here stays where the cluster has lost it."""
        folder = folder.sweep or folder
        try:
            answer = self._api.get(f"/api/jobs/{_submission(folder.record())}/logs")
        except Unreachable:
            raise
        except ClusterError:  # its node is gone, or Ray has not made the file yet
            return
        content = str((answer or {}).get("logs", "")).encode()
        if content:
            known = folder.log.read_bytes() if folder.log.exists() else b""
            draft = folder.path / ".log.new"
            draft.write_bytes(joined_log(known, content))
            draft.replace(folder.log)

    def nodes(self) -> list[Node]:
        """Tell what each node has in all.

        Raises:
            ClusterError: the cluster refuses, with its words.
            Unreachable: it does not answer, or has no node yet.

        """
        answer = self._api.get(NODES) or {}
        found = answer.get("data", {}).get("result", {}).get("result", [])
        nodes = [node.get("resources_total") or {} for node in found if node.get("state") == "ALIVE"]
        if not nodes:
            raise Unreachable(f"cluster '{self._cluster.name}' has no node yet: its head is still starting")
        return nodes

    def _placed(self, job: "Job", origin: Origin) -> Any:
        """Say who a new run is, and that its places are those of the cluster."""
        cluster = self._cluster
        header = replace(new_header(job, self.settings, origin), cluster=cluster.name, storage=cluster.storage)
        if job.tracking == "none":
            return header
        if not cluster.tracking_uri:
            cure = "name MLflow as its nodes reach it, or set tracking: none in the job"
            raise ClusterError(f"cluster '{cluster.name}' has no tracking_uri in {config_path()}; {cure}")
        return replace(header, tracking_uri=without_password(cluster.tracking_uri))

    @contextmanager
    def _pages(self) -> Iterator[Pages]:
        """Reach the MLflow that the cluster's runs are recorded in.

        Raises:
            Unreachable: it is no server, but files of the cluster's nodes.

        """
        uri = urlsplit(self._cluster.tracking_uri)
        if not is_server(self._cluster.tracking_uri):
            raise Unreachable(f"{without_password(self._cluster.tracking_uri)} is no server")
        user, password = uri.username or "", uri.password or ""
        if not user:
            user, password = (os.environ.get(f"MLFLOW_TRACKING_{name}", "") for name in ("USERNAME", "PASSWORD"))
        yield Pages(uri._replace(netloc=uri.netloc.rpartition("@")[2]).geturl(), unquote(user), unquote(password))

    def _look(self, folder: RunFolder) -> dict[str, Any] | None:
        """Bring the folder up to date; return what Ray says of the run's job, None where it says nothing."""
        record = folder.record()
        if record.state.final:
            return None
        job: dict[str, Any] | None = self._api.get(f"/api/jobs/{_submission(record)}")
        status = run_status(job, record.status)
        if job is not None and (progress := progress_of(job)):
            folder.write_progress(progress)
        if status != record.status:
            folder.write_status(status)
        return job

    def _upload(self, content: bytes) -> str:
        """Leave a package with Ray, unless it has it; whoever asks for one has it kept for ten minutes."""
        name = package_name(content)
        if not self._api.has(f"/api/packages/gcs/{name}"):
            self._api.put(f"/api/packages/gcs/{name}", content)
        return name

    def _start(self, request: dict[str, Any]) -> None:
        deadline = time.monotonic() + GETS_READY_S
        while True:
            try:
                self._api.post("/api/jobs/", request)
            except ClusterError as error:
                if NO_AGENT not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(POLL_S)
            else:
                return

    def _end(self, folder: RunFolder) -> str:
        """End a run without its driver."""
        status = folder.status()
        folder.write_status(cancelled(status))
        return end_page(folder.header(), self._pages) if status.mlflow_run else ""

    def _request(self, record: RunRecord, what: str) -> None:
        self._api.put(f"/api/packages/gcs/{request_package(_submission(record))}", what.encode())


def joined_log(known: bytes, current: bytes) -> bytes:
    """Lay the log of a run's newest job behind those of earlier ones; the first line of each has its time.

    Args:
        known: what is here, perhaps with a part of the newest one.
        current: the newest one.

    """
    first = current.partition(b"\n")[0]
    at = known.find(first)
    return (known if at < 0 else known[:at]) + current


def _submission(record: RunRecord) -> str:
    return submission_id(record.id, record.status.reopened)
