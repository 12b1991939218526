"""A namespace of a Kubernetes cluster with KubeRay: each run is a RayJob, and the client may disconnect at any time.

The local folder of such a run is like that of any other, updated from the cluster on request. The client imports
neither torch nor ray nor mlflow.
"""

import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import stoker
from stoker.clusters.cluster import Event
from stoker.clusters.home_folder import make_home, run_folder
from stoker.clusters.kubernetes.api import KubeApi
from stoker.clusters.kubernetes.api_errors import AlreadyExists
from stoker.clusters.kubernetes.config_maps import config_map_manifests
from stoker.clusters.kubernetes.metadata import Manifest, annotations_of
from stoker.clusters.kubernetes.mlflow_access import mlflow_access
from stoker.clusters.kubernetes.pod_logs import append_new_lines
from stoker.clusters.kubernetes.profile import Profile
from stoker.clusters.kubernetes.queues import require_known_queue
from stoker.clusters.kubernetes.rayjob import HEADER_ANNOTATION, JOB_ANNOTATION, rayjob_manifest
from stoker.clusters.kubernetes.states.events import run_events
from stoker.clusters.kubernetes.states.run_observer import RunObserver, status_of
from stoker.clusters.mlflow_api import MlflowApi, cancel_mlflow_run
from stoker.clusters.new_run import Origin, new_header
from stoker.clusters.preconditions import require_running_sweep
from stoker.clusters.restart import Restart
from stoker.clusters.run_inputs import JOB_FILE
from stoker.clusters.submit_keys import key_conflict
from stoker.clusters.trial_sync import added_trials, sync_trials, trial_cancel_request
from stoker.errors import Cause, ClusterError, NotFound, StokerError, Unreachable
from stoker.execution.contract import REQUEST
from stoker.jobfile.loading import dump_job, load_job
from stoker.settings import ClusterSettings, Settings
from stoker.tracking.run import (
    RunHeader,
    RunRecord,
    RunStatus,
    State,
    cancelled,
    known_fields,
    now,
)
from stoker.tracking.run_folder import RunFolder

if TYPE_CHECKING:
    from stoker.job.own_code import AnyJob

RUN_ID = re.compile(r"[A-Za-z0-9._-]+")
RESOLVED = "resolved.yaml"
"""File of a run's resolved job among its artifacts."""
HAS_DRIVER = (State.STARTING, State.RUNNING, State.RETRYING)
"""States in which a driver reads requests, after its first report; a run that waits for pods again has no driver."""


class KubernetesCluster:
    """Runs in one namespace."""

    poll_s = 1.0

    def __init__(self, settings: Settings, cluster: ClusterSettings, api: KubeApi | None = None) -> None:
        self.settings = settings
        self.name = cluster.name
        self._namespace = cluster.namespace
        self.api = api or KubeApi(cluster)
        self._observer = RunObserver(self.api, self._mlflow)

    def render(self, job: "AnyJob", origin: Origin) -> tuple[Manifest, list[Manifest], RunHeader]:
        """Return the objects of a new run without creating them: its RayJob, the ConfigMaps of its inputs, its header.

        Raises:
            JobError: the administrator does not allow what the job asks for.
            ClusterError: the cluster's settings cannot be read.

        """
        profile = self._profile()
        header = replace(new_header(job, self.settings, origin), cluster=self.name, storage="")
        if job.tracking != "none":
            header = replace(header, tracking_uri=profile.tracking_uri)
        code = origin.file_contents()
        rayjob = rayjob_manifest(job, header, self._namespace, profile, code)
        require_known_queue(self.api, self.name, rayjob)
        return rayjob, config_map_manifests(job, header, self._namespace, code), header

    def submit(self, job: "AnyJob", origin: Origin | None = None) -> RunFolder:
        """Start a run and return at once; with a key that has a run on the cluster, return that one.

        Raises:
            JobError: the administrator does not allow what the job asks for, or the key belongs to another job.
            ClusterError: the cluster refuses; the message quotes it.
            Unreachable: it does not answer.

        """
        origin = origin or Origin()
        rayjob, inputs, header = self.render(job, origin)
        make_home(self.settings.home)
        folder = run_folder(self.settings.home, header.id)
        try:
            if origin.key and self._is_only_in_mlflow(header):
                raise AlreadyExists(header.id)
            self.api.dry_run(rayjob)
            folder.create(header, dump_job(job), origin.files())
            self.api.create(rayjob, inputs)
            folder.write_status(RunStatus(State.PROVISIONING, phase="creating its pods"))
        except AlreadyExists:
            if not origin.key:
                raise
            self._require_same_job(header.id, rayjob, origin.key)
            if not folder.readable():
                folder.create(header, dump_job(job), origin.files())
        except Unreachable:  # the request may have arrived; a later refresh will show
            raise
        except StokerError:
            if folder.readable():  # the cluster refused it, so it never started
                message = "the cluster did not accept it"
                failed = RunStatus(State.FAILED, phase="", cause=Cause.INFRASTRUCTURE, message=message)
                folder.write_status(replace(failed, ended=now(), exit_code=1))
            raise
        return folder

    def refresh(self, folder: RunFolder) -> RunRecord:
        """Update the local folder of a run, or of a trial and its sweep, and return its record.

        Raises:
            Unreachable: the cluster does not answer.

        """
        whole = folder.sweep or folder
        self._observer.update(whole)
        sync_trials(whole, self._mlflow)
        return folder.record()

    def restart(self, folder: RunFolder, more_trials: int = 0) -> None:
        """Start the next attempt of a run as a new RayJob of the same name."""
        header, job = folder.header(), load_job(folder.job, code=folder.code).job
        code = folder.code_content()
        restart = Restart(os.urandom(4).hex(), added_trials(folder, job) + more_trials)
        rayjob = rayjob_manifest(job, header, self._namespace, self._profile(), code, restart)
        self.api.delete(header.id)
        self.api.wait_until_deleted(header.id)
        self.api.create(rayjob, config_map_manifests(job, header, self._namespace, code))
        folder.reopen(restart.id)

    def request_pause(self, folder: RunFolder) -> None:
        """Ask the driver of a run to stop at a checkpoint, now or when it starts."""
        self.api.annotate(folder.path.name, REQUEST, "pause")

    def request_cancel(self, folder: RunFolder) -> bool:
        """Ask the driver of a run to end it; return False if the run waits for its pods."""
        record = folder.record()
        if record.state not in HAS_DRIVER or not record.status.attempt:
            return False
        if self._observer.driver_is_lost(record.id):
            return False
        self.api.annotate(record.id, REQUEST, "cancel")
        return True

    def cancel_trial(self, trial: RunFolder) -> None:
        """Ask the driver of a sweep to end one of its trials.

        Raises:
            NotFound: the sweep has no driver.

        """
        require_running_sweep(trial)
        assert trial.sweep is not None
        self.api.annotate(trial.sweep.path.name, REQUEST, trial_cancel_request(trial))

    def stop_driver(self, folder: RunFolder) -> None:
        """Do nothing: `close` deletes the RayJob, and its pods with it."""

    def close(self, folder: RunFolder) -> str:
        """Delete the RayJob and mark the run as CANCELLED; return why MLflow could not be told, or an empty string."""
        header = folder.header()
        self.api.delete(header.id)
        folder.write_status(cancelled(folder.status()))
        return cancel_mlflow_run(header, self._mlflow)

    def remove(self, folder: RunFolder) -> None:
        """Delete the RayJob of the run, and with it its ConfigMaps, pods and services."""
        self.api.delete(folder.path.name)

    def fetch_log(self, folder: RunFolder) -> None:
        """Download what the run has printed so far, or MLflow's copy if its pods are gone."""
        folder = folder.sweep or folder
        run = folder.path.name
        pods = self.api.pods(f"job-name={run}")
        if pods:
            append_new_lines(self.api, folder, pods)
        elif not folder.log.exists() and folder.header().experiment:
            with self._mlflow() as mlflow:
                mlflow.fetch(folder.header().experiment, run, folder.log.name, folder.log)

    def fetch_model(self, folder: RunFolder) -> None:
        """Download a run's model from MLflow, unless it is here.

        Raises:
            NotFound: MLflow does not have it.

        """
        uri = folder.status().model_uri
        if folder.model.exists() or not uri:
            return
        with self._mlflow() as mlflow:
            mlflow.fetch_model(uri, folder.model)

    def events(self, folder: RunFolder) -> list[Event]:
        """Return the events of a run and its pods, the oldest first."""
        run = (folder.sweep or folder).path.name
        return run_events(self.api.events(run), run)

    def runs(self) -> list[RunRecord]:
        """Return the runs that the cluster still has, of all submitters, the newest first."""
        found = []
        for rayjob in self.api.rayjobs():
            header, (status, _) = self._header_of(rayjob), status_of(rayjob, RunStatus())
            found.append(RunRecord(header, status, run_folder(self.settings.home, header.id).path))
        return sorted(found, key=lambda record: record.header.order, reverse=True)

    def adopt(self, reference: str) -> RunFolder:
        """Create a local folder for a run that was submitted elsewhere; MLflow knows those that the cluster has lost.

        Args:
            reference: its id, a unique prefix of its id, or its job's name (the newest run).

        Raises:
            NotFound: no run of the cluster matches, or several do.

        """
        headers = [record.header for record in self.runs()]
        found = _matches(reference, headers) or _matches(reference, self._recorded_headers(reference))
        if len(found) != 1:
            ids = ", ".join(each.id for each in (found or headers)[:5])
            raise NotFound(f"no run '{reference}' here, and not exactly one on cluster '{self.name}' ({ids})")
        folder, inputs = run_folder(self.settings.home, found[0].id), self.api.config_map(found[0].id)
        make_home(self.settings.home)
        folder.create(found[0], inputs.get(JOB_FILE, "") if inputs else self._recorded_job(found[0]))
        folder.adopted.touch()
        return folder

    def tracking(self, port: int = 0) -> AbstractContextManager[tuple[str, str, str]]:
        """Return access to the cluster's MLflow; see `mlflow_access`."""
        return mlflow_access(self.api, self._namespace, port)

    def _recorded_headers(self, reference: str) -> list[RunHeader]:
        """Return the headers that MLflow has of runs whose ids begin like this; none if it cannot be asked."""
        if not RUN_ID.fullmatch(reference):
            return []
        with suppress(StokerError), self._mlflow() as mlflow:
            return [replace(header, cluster=self.name) for header in mlflow.headers(reference)]
        return []

    def _recorded_job(self, header: RunHeader) -> str:
        with tempfile.TemporaryDirectory() as place, self._mlflow() as mlflow:
            file = Path(place) / RESOLVED
            return file.read_text("utf-8") if mlflow.fetch(header.experiment, header.id, RESOLVED, file) else ""

    @contextmanager
    def _mlflow(self) -> Iterator[MlflowApi]:
        with self.tracking() as (address, user, password):
            yield MlflowApi(address, user, password)

    def _profile(self) -> Profile:
        """Return the administrator's settings, after a check of the version."""
        profile = self.api.profile()
        require_version(profile.version, self.name)
        return profile

    def _is_only_in_mlflow(self, header: RunHeader) -> bool:
        """Return whether MLflow has a run of this id whose RayJob is gone."""
        if not header.experiment or self.api.rayjob(header.id) is not None:
            return False
        with self._mlflow() as mlflow:
            return mlflow.find(header.experiment, header.id) is not None

    def _require_same_job(self, run: str, mine: Manifest, key: str) -> None:
        theirs = self.api.rayjob(run)
        if theirs is not None and annotations_of(theirs).get(JOB_ANNOTATION) != annotations_of(mine)[JOB_ANNOTATION]:
            raise key_conflict(key, run)

    def _header_of(self, rayjob: Manifest) -> RunHeader:
        """Return the header of a run, with the cluster's name in this home."""
        header = known_fields(RunHeader, json.loads(annotations_of(rayjob).get(HEADER_ANNOTATION, "{}")))
        return replace(RunHeader(**header), cluster=self.name)


def _matches(reference: str, headers: list[RunHeader]) -> list[RunHeader]:
    """Return the header of this id, or the newest of this name, or all whose ids begin like this."""
    exact = [each for each in headers if reference == each.id] or [each for each in headers if reference == each.name]
    return exact[:1] or [each for each in headers if each.id.startswith(reference)]


def require_version(theirs: str, cluster: str) -> None:
    """Raise unless the cluster's version of Stoker differs from this one at most in its last number.

    Raises:
        ClusterError: it is another version.

    """
    if theirs and theirs.split(".")[:2] != stoker.__version__.split(".")[:2]:
        cure = f"install stoker=={theirs} here, or have its administrator upgrade the chart"
        raise ClusterError(f"cluster '{cluster}' runs Stoker {theirs}, this is {stoker.__version__}; {cure}")
