"""A namespace of a Kubernetes cluster with KubeRay: each run is a RayJob, and this client may vanish at any time.

What this home knows of such a run is a folder like any other one's, brought up to date from the cluster when somebody
asks. The client imports neither torch nor ray nor mlflow.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from stoker.clusters._rayjob import RUN_LABEL, inputs_manifest, owned_by, rayjob_manifest
from stoker.clusters.following import follow
from stoker.clusters.home import make_home
from stoker.clusters.local import Origin, new_header, require_resumable
from stoker.clusters.profile import Profile
from stoker.clusters.rayjob_states import run_status, why_it_waits
from stoker.errors import ClusterError, NotFound, Unreachable
from stoker.execution.contract import PROGRESS, REQUEST, STATUS
from stoker.settings import ClusterSettings, Settings
from stoker.spec.code import code_files
from stoker.spec.loading import dump_job, load_job
from stoker.tracking.record import RunFolder
from stoker.tracking.run import Progress, RunRecord, State, now, status_from

if TYPE_CHECKING:
    from stoker.spec.job import Job

PROFILE = "stoker-profile"
"""Name of the ConfigMap that holds the administrator's settings."""
TIMEOUT_S = 10
POLL_S = 1.0
GONE_S = 60.0
RAYJOBS = ("ray.io", "v1")
FORBIDDEN, MISSING = 403, 404


class KubernetesCluster:
    """Submits, follows, rests and ends runs in one namespace."""

    def __init__(self, settings: Settings, cluster: ClusterSettings) -> None:
        self.settings = settings
        self._cluster = cluster
        self._namespace = cluster.namespace
        with _said(cluster):
            api = config.new_client_from_config(  # type: ignore[no-untyped-call] # it has types for its API alone
                context=cluster.kube_context or None
            )
        self._objects: Any = client.CustomObjectsApi(api)
        self._core: Any = client.CoreV1Api(api)

    def profile(self) -> Profile:
        """Read what the administrator says.

        Raises:
            ClusterError: nothing is installed there, or it cannot be read.

        """
        with _said(self._cluster):
            try:
                found = self._core.read_namespaced_config_map(PROFILE, self._namespace, _request_timeout=TIMEOUT_S)
            except ApiException as error:
                if error.status != MISSING:
                    raise
                where = f"namespace '{self._namespace}' of cluster '{self._cluster.name}'"
                cure = "install the chart there, or name the right namespace"
                raise ClusterError(f"{where} has no settings for runs (ConfigMap {PROFILE}); {cure}") from error
        import yaml

        return Profile.model_validate(yaml.safe_load((found.data or {}).get("profile.yaml", "")))

    def submit(self, job: "Job", origin: Origin | None = None) -> RunFolder:
        """Give a run to the cluster and return at once.

        Raises:
            JobError: the administrator does not allow what the job asks for.
            ClusterError: the cluster refuses, with its words.
            Unreachable: it does not answer.

        """
        origin = origin or Origin()
        header = replace(new_header(job, self.settings, origin), cluster=self._cluster.name, storage="")
        code = origin.code
        files = {str(path.relative_to(code)): path for path in code_files(code)} if code else {}
        contents = {name: path.read_bytes() for name, path in files.items()}
        profile = self.profile()
        if job.tracking != "none":
            header = replace(header, tracking_uri=profile.tracking_uri)
        rayjob = rayjob_manifest(job, header, self._namespace, profile, contents)
        inputs = inputs_manifest(job, header, self._namespace, contents)
        make_home(self.settings.home)
        folder = RunFolder(self.settings.home / "runs" / header.id)
        with _said(self._cluster):
            self._create(rayjob, dry_run="All")  # nothing is left of what the cluster does not take
        folder.create(header, dump_job(job), files)
        self._start(rayjob, inputs)
        return folder

    def refresh(self, folder: RunFolder) -> RunRecord:
        """Bring this home's folder of a run up to date, and return its record.

        Raises:
            Unreachable: the cluster does not answer.

        """
        known = folder.status()
        if known.state.final:
            return folder.record()
        rayjob = self._rayjob(folder.path.name)
        if rayjob is None:
            if not known.state.ended:
                message = "its RayJob is not there any more"
                folder.write_status(replace(known, state=State.INTERRUPTED, message=message, ended=now()))
            return folder.record()
        annotations = rayjob["metadata"].get("annotations", {})
        said = status_from(json.loads(annotations.get(STATUS, "{}")))
        status = run_status(rayjob.get("status", {}), said, bool(annotations.get(STATUS)))
        if status.state in (State.QUEUED, State.PROVISIONING):
            status = replace(status, message=why_it_waits(self._pods(folder.path.name), self._events(folder.path.name)))
        if progress := annotations.get(PROGRESS):
            folder.write_progress(Progress(**json.loads(progress)))
        if status != known:
            folder.write_status(status)
        return folder.record()

    def follow(self, folder: RunFolder, every_s: float = POLL_S) -> Iterator[RunRecord]:
        """Yield the run's record again and again, the last time when nobody works on it any more.

        A cluster that does not answer for a while is asked again.
        """
        return follow(self, folder, every_s)

    def resume(self, folder: RunFolder) -> None:
        """Let a run that did not come to its end go on, as a new RayJob of the same name.

        Raises:
            NotFound: it has succeeded, or goes on.

        """
        self.refresh(folder)
        require_resumable(folder)
        header, job = folder.header(), load_job(folder.job).job
        code = {str(path.relative_to(folder.code)): path.read_bytes() for path in folder.code.rglob("*.py")}
        rayjob = rayjob_manifest(job, header, self._namespace, self.profile(), code, reopen=os.urandom(4).hex())
        inputs = inputs_manifest(job, header, self._namespace, code)
        with _said(self._cluster):
            self._delete(header.id)
            self._await_gone(header.id)
        self._start(rayjob, inputs)
        folder.reopen()

    def cancel(self, folder: RunFolder) -> str:
        """Ask a run to end, with a checkpoint; one that waits or rests ends at once.

        Raises:
            NotFound: it has ended for good.

        """
        record = self.refresh(folder)
        if record.state.final:
            raise NotFound(f"{record.id} is {record.state}: nothing to cancel")
        if record.state is State.RUNNING:
            self._ask(record.id, "cancel")
            return ""
        with _said(self._cluster):
            self._delete(record.id)
        status = folder.status()
        folder.write_status(replace(status, state=State.CANCELLED, message="", ended=now(), exit_code=1))
        return ""

    def pause(self, folder: RunFolder) -> None:
        """Ask a run to rest at a checkpoint.

        Raises:
            NotFound: nothing works on it.

        """
        record = self.refresh(folder)
        if record.state.ended:
            raise NotFound(f"{record.id} is {record.state}: nothing to pause")
        self._ask(record.id, "pause")

    def fetch_log(self, folder: RunFolder) -> None:
        """Bring what the run has printed so far to this home; what is here stays where the pods are gone."""
        with _said(self._cluster):
            pods = self._core.list_namespaced_pod(
                self._namespace, label_selector=f"job-name={folder.path.name}", _request_timeout=TIMEOUT_S
            )
            for pod in sorted(pods.items, key=lambda pod: pod.metadata.creation_timestamp):
                try:
                    text = self._core.read_namespaced_pod_log(pod.metadata.name, self._namespace)
                except ApiException:  # it has not begun
                    continue
                content = text.encode()
                if not folder.log.exists() or len(content) > folder.log.stat().st_size:
                    draft = folder.path / ".log.new"
                    draft.write_bytes(content)
                    draft.replace(folder.log)

    def _start(self, rayjob: dict[str, Any], inputs: dict[str, Any]) -> None:
        """Make a RayJob and what its pods wait for, which goes with it."""
        with _said(self._cluster):
            created = self._create(rayjob)
            self._core.create_namespaced_config_map(self._namespace, owned_by(inputs, created))

    def _create(self, manifest: dict[str, Any], **options: str) -> Any:
        return self._objects.create_namespaced_custom_object(
            *RAYJOBS, self._namespace, "rayjobs", manifest, field_validation="Strict", **options
        )

    def _await_gone(self, run: str) -> None:
        """Wait until nothing is left of a RayJob and its inputs."""
        deadline = time.monotonic() + GONE_S
        while self._rayjob(run) is not None or self._has_inputs(run):
            if time.monotonic() > deadline:
                raise ClusterError(f"the RayJob {run} of the last attempt does not go away; delete it, then resume")
            time.sleep(POLL_S)

    def _has_inputs(self, run: str) -> bool:
        try:
            self._core.read_namespaced_config_map(run, self._namespace, _request_timeout=TIMEOUT_S)
        except ApiException as error:
            if error.status != MISSING:
                raise
            return False
        return True

    def _delete(self, run: str) -> None:
        try:
            self._objects.delete_namespaced_custom_object(*RAYJOBS, self._namespace, "rayjobs", run)
        except ApiException as error:
            if error.status != MISSING:
                raise

    def _rayjob(self, run: str) -> Any:
        with _said(self._cluster):
            try:
                return self._objects.get_namespaced_custom_object(
                    *RAYJOBS, self._namespace, "rayjobs", run, _request_timeout=TIMEOUT_S
                )
            except ApiException as error:
                if error.status != MISSING:
                    raise
                return None

    def _ask(self, run: str, request: str) -> None:
        body = {"metadata": {"annotations": {REQUEST: request}}}
        with _said(self._cluster):
            self._objects.patch_namespaced_custom_object(*RAYJOBS, self._namespace, "rayjobs", run, body)

    def _pods(self, run: str) -> list[Any]:
        with _said(self._cluster):
            selector = f"{RUN_LABEL}={run}"
            found = self._core.list_namespaced_pod(self._namespace, label_selector=selector, _request_timeout=TIMEOUT_S)
        return list(found.items)

    def _events(self, run: str) -> list[Any]:
        with _said(self._cluster):
            found = self._core.list_namespaced_event(self._namespace, _request_timeout=TIMEOUT_S)
        return [event for event in found.items if event.involved_object.name.startswith(run)]


@contextmanager
def _said(cluster: ClusterSettings) -> Iterator[None]:
    """Say in our words what a cluster, or the way to it, refuses."""
    name = f"cluster '{cluster.name}'"
    try:
        yield
    except config.ConfigException as error:
        raise ClusterError(f"{name}: {error}; name a context of your kubeconfig (kube_context)") from error
    except ApiException as error:
        raise ClusterError(f"{name} refuses: {_reason(error)}") from error
    except (HTTPError, OSError) as error:
        reason = str(getattr(error, "reason", error)).rpartition(": ")[2]
        raise Unreachable(f"{name} does not answer ({reason})") from error


def _reason(error: ApiException) -> str:
    try:
        message = str(json.loads(error.body or "")["message"])
    except (TypeError, ValueError, KeyError):
        message = str(error.reason)
    cure = "; ask its administrator for the role stoker-submitter" if error.status == FORBIDDEN else ""
    return f"{message}{cure}"
