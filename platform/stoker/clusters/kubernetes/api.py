"""The few things that Stoker asks of a Kubernetes API server, and its refusals in our words."""

import base64
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from pydantic import ValidationError
from urllib3.exceptions import HTTPError

from stoker.clusters.kubernetes.metadata import RUN_LABEL, owned_by
from stoker.clusters.kubernetes.profile import Profile
from stoker.errors import ClusterError, NoEntry, NotFound, Unreachable
from stoker.settings import ClusterSettings

PROFILE = "stoker-profile"
"""Name of the ConfigMap that holds the administrator's settings."""
TIMEOUT_S = 10
GONE_S = 60.0
POLL_S = 1.0
RAYJOBS = ("ray.io", "v1")
WORKLOADS = ("v1beta2", "v1beta1")
"""Versions of Kueue's API that tell why a run waits, the newest first."""
BAD, REFUSED, FORBIDDEN, MISSING, TAKEN = 400, 401, 403, 404, 409
THROTTLED, BROKEN = 429, 500
"""From a server that will soon do better."""
NEEDED = (
    ("create", "ray.io", "rayjobs"),
    ("patch", "ray.io", "rayjobs"),
    ("delete", "ray.io", "rayjobs"),
    ("create", "", "configmaps"),
    ("list", "", "pods"),
    ("list", "", "events"),
)
"""What a submitter must be allowed to do."""
CURES = {
    REFUSED: "log in to the cluster again: the token or certificate of your kubeconfig is not valid any more",
    FORBIDDEN: "ask its administrator for the role stoker-submitter",
}


class Taken(ClusterError):
    """There is an object of this name already."""


KINDS = {TAKEN: Taken, REFUSED: NoEntry, FORBIDDEN: NoEntry}


class KubeApi:
    """One namespace."""

    def __init__(self, cluster: ClusterSettings) -> None:
        self.cluster = cluster
        self.namespace = cluster.namespace
        with self.said():
            self._client = self._new_client()
        self._objects: Any = client.CustomObjectsApi(self._client)

    @cached_property
    def _core(self) -> Any:
        """Pods, events and the like: it takes a second to load, so a submission does without."""
        return client.CoreV1Api(self._client)

    def profile(self) -> Profile:
        """Read what the administrator says.

        Raises:
            NotFound: nothing is installed there.
            ClusterError: it cannot be read.

        """
        found = self.config_map(PROFILE)
        if found is None:
            where = f"namespace '{self.namespace}' of cluster '{self.cluster.name}'"
            cure = "install the chart there, or name the right namespace"
            raise NotFound(f"{where} has no settings for runs (ConfigMap {PROFILE}); {cure}")
        import yaml

        said = yaml.safe_load(found.get("profile.yaml", ""))
        try:
            return Profile.model_validate({key: said[key] for key in said if key in Profile.model_fields})
        except (ValidationError, TypeError) as error:
            reason = str(error).replace("\n", " ")
            raise ClusterError(
                f"the settings for runs in ConfigMap {PROFILE} are wrong: {reason}; tell the cluster's administrator"
            ) from error

    def config_map(self, name: str) -> dict[str, str] | None:
        """Read a ConfigMap's data; None where there is none of this name."""
        with self.said(), _none_is_fine():
            return dict(self._ask("GET", f"/{name}").get("data") or {})
        return None

    def lacking(self) -> list[str]:
        """Ask the server what of a submitter's work it would refuse; return that in words."""
        reviews: Any = client.AuthorizationV1Api(self._client)
        missing = []
        for verb, group, resource in NEEDED:
            attributes = {"namespace": self.namespace, "verb": verb, "group": group, "resource": resource}
            with self.said():
                answer = reviews.create_self_subject_access_review(
                    {"spec": {"resourceAttributes": attributes}}, _request_timeout=TIMEOUT_S
                )
            if not answer.status.allowed:
                missing.append(f"{verb} {resource}")
        return missing

    def secret(self, name: str) -> dict[str, str]:
        """Read a secret.

        Raises:
            ClusterError: it is not there, or not ours to read.

        """
        with self.said():
            found = self._core.read_namespaced_secret(name, self.namespace, _request_timeout=TIMEOUT_S)
        return {key: base64.b64decode(value).decode() for key, value in (found.data or {}).items()}

    def try_out(self, rayjob: dict[str, Any]) -> None:
        """Let the server check a RayJob without making it: nothing is left of what it does not take."""
        self._create(rayjob, dry_run="All")

    def start(self, rayjob: dict[str, Any], inputs: list[dict[str, Any]]) -> None:
        """Make a RayJob and what its pods wait for, which goes with it.

        Raises:
            Taken: a RayJob of this name is there.

        """
        run = rayjob["metadata"]["name"]
        try:
            created = self._create(rayjob)
        except Unreachable as error:  # the server may have taken it before it fell silent
            created = self.rayjob(run)
            if created is None:
                raise
            if not _annotations(rayjob).items() <= _annotations(created).items():
                raise Taken(f"cluster '{self.cluster.name}' has another RayJob {run}") from error
        try:
            for each in inputs:
                with self.said():
                    self._ask("POST", "", owned_by(each, created))
        except BaseException:  # or its pods would wait for ever
            self.delete(run)
            raise

    def rayjob(self, run: str) -> Any:
        """Read a RayJob; None where there is none."""
        with self.said(), _none_is_fine():
            return self._objects.get_namespaced_custom_object(
                *RAYJOBS, self.namespace, "rayjobs", run, _request_timeout=TIMEOUT_S
            )
        return None

    def rayjobs(self) -> list[Any]:
        """List the RayJobs of all runs."""
        with self.said():
            found = self._objects.list_namespaced_custom_object(
                *RAYJOBS, self.namespace, "rayjobs", label_selector=RUN_LABEL, _request_timeout=TIMEOUT_S
            )
        return list(found["items"])

    def annotate(self, run: str, annotation: str, text: str) -> None:
        """Write an annotation of a RayJob.

        Raises:
            NotFound: it is gone.

        """
        body = {"metadata": {"annotations": {annotation: text}}}
        with self.said():
            try:
                self._objects.patch_namespaced_custom_object(
                    *RAYJOBS, self.namespace, "rayjobs", run, body, _request_timeout=TIMEOUT_S
                )
            except ApiException as error:
                if error.status == MISSING:
                    raise NotFound(f"{run} has no RayJob any more") from error
                raise

    def delete(self, run: str) -> None:
        """Delete a RayJob and all that belongs to it, unless it is gone."""
        with self.said(), _none_is_fine():
            self._objects.delete_namespaced_custom_object(
                *RAYJOBS, self.namespace, "rayjobs", run, _request_timeout=TIMEOUT_S
            )

    def await_gone(self, run: str) -> None:
        """Wait until nothing is left of a RayJob and its inputs."""
        deadline = time.monotonic() + GONE_S
        while self.rayjob(run) is not None or self.config_map(run) is not None:
            if time.monotonic() > deadline:
                raise ClusterError(f"the RayJob {run} of the last attempt does not go away; delete it, then resume")
            time.sleep(POLL_S)

    def pods(self, selector: str) -> list[Any]:
        """List pods by their labels."""
        with self.said():
            found = self._core.list_namespaced_pod(self.namespace, label_selector=selector, _request_timeout=TIMEOUT_S)
        return list(found.items)

    def events(self, run: str) -> list[Any]:
        """List what Kubernetes says of a run's objects, all of which begin with its name, and of Kueue's."""
        with self.said():
            found = self._core.list_namespaced_event(self.namespace, _request_timeout=TIMEOUT_S)
        return [event for event in found.items if event.involved_object.name.startswith((run, f"rayjob-{run}"))]

    def workload(self, run: str) -> Any:
        """Find what Kueue holds of a run; None where there is none, or no Kueue."""
        for version in WORKLOADS:
            with self.said(), _none_is_fine(FORBIDDEN):
                found = self._objects.list_namespaced_custom_object(
                    "kueue.x-k8s.io", version, self.namespace, "workloads", _request_timeout=TIMEOUT_S
                )
                return next((each for each in found["items"] if _owner(each) == run), None)
        return None

    def pod_log(self, pod: str, since_s: int | None) -> str:
        """Read what a pod has printed, each line behind its time; empty where it has not begun or is gone."""
        options = {"since_seconds": since_s} if since_s else {}
        with self.said(), _none_is_fine(BAD):
            return str(
                self._core.read_namespaced_pod_log(
                    pod, self.namespace, timestamps=True, _request_timeout=GONE_S, **options
                )
            )
        return ""

    @contextmanager
    def tunnel(self, service: str, namespace: str, port: int, local: int = 0) -> Iterator[int]:
        """Lead a port of this machine to a pod behind a service, for the length of the block.

        Raises:
            ClusterError: no pod of it is up.

        """
        from stoker.clusters.kubernetes.port_forward import tunnel

        with self.said():
            found = self._core.read_namespaced_service(service, namespace, _request_timeout=TIMEOUT_S)
            labels = ",".join(f"{key}={value}" for key, value in (found.spec.selector or {}).items())
            pods = self._core.list_namespaced_pod(namespace, label_selector=labels, _request_timeout=TIMEOUT_S).items
            ready = [pod for pod in pods if pod.status.phase == "Running"]
        if not ready:
            raise Unreachable(f"no pod of {service} in namespace '{namespace}' is up")
        name = ready[0].metadata.name
        with ExitStack() as stack:
            with self.said():
                way = tunnel(self._new_client(), namespace, name, _pod_port(found, ready[0], port), local)
                here = stack.enter_context(way)
            yield here

    @contextmanager
    def said(self) -> Iterator[None]:
        """Say in our words what a cluster, or the way to it, refuses."""
        name = f"cluster '{self.cluster.name}'"
        try:
            yield
        except config.ConfigException as error:
            raise ClusterError(f"{name}: {error}; name a context of your kubeconfig (kube_context)") from error
        except ApiException as error:
            message = f"{name} refuses: {_reason(error)}"
            busy = error.status == THROTTLED or (error.status or 0) >= BROKEN
            raise KINDS.get(error.status or 0, Unreachable if busy else ClusterError)(message) from error
        except (HTTPError, OSError) as error:
            reason = str(getattr(error, "reason", error)).rpartition(": ")[2]
            raise Unreachable(f"{name} does not answer ({reason})") from error

    def _new_client(self) -> Any:
        made = config.new_client_from_config(  # type: ignore[no-untyped-call] # it has types for its API alone
            context=self.cluster.kube_context or None
        )
        made.configuration.retries = 0  # a cluster that does not answer is said so at once; who follows asks again
        return client.ApiClient(made.configuration)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask for a ConfigMap as plain JSON."""
        request = self._client.param_serialize(
            method=method,
            resource_path=f"/api/v1/namespaces/{self.namespace}/configmaps{path}",
            header_params={"Accept": "application/json", "Content-Type": "application/json"},
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = self._client.call_api(*request, _request_timeout=TIMEOUT_S)
        answer.read()
        return self._client.response_deserialize(answer, {"2XX": "object"}).data

    def _create(self, rayjob: dict[str, Any], **options: str) -> Any:
        with self.said():
            return self._objects.create_namespaced_custom_object(
                *RAYJOBS,
                self.namespace,
                "rayjobs",
                rayjob,
                field_validation="Strict",
                _request_timeout=TIMEOUT_S,
                **options,
            )


@contextmanager
def _none_is_fine(*more: int) -> Iterator[None]:
    """End the block where there is no such object."""
    try:
        yield
    except ApiException as error:
        if error.status not in (MISSING, *more):
            raise


def _annotations(manifest: dict[str, Any]) -> dict[str, str]:
    """Return what says who a RayJob's run is, and what its driver has added since."""
    found: dict[str, str] = manifest["metadata"].get("annotations") or {}
    return found


def _owner(workload: dict[str, Any]) -> str:
    owners = workload["metadata"].get("ownerReferences", [])
    return next((owner["name"] for owner in owners if owner["kind"] == "RayJob"), "")


def _pod_port(service: Any, pod: Any, port: int) -> int:
    """Find the port of a pod that a service's port leads to."""
    target = next((each.target_port for each in service.spec.ports if each.port == port), port)
    if isinstance(target, int):
        return target
    ports = [named for container in pod.spec.containers for named in container.ports or []]
    return next((named.container_port for named in ports if named.name == target), port)


def _reason(error: ApiException) -> str:
    try:
        message = str(json.loads(error.body or "")["message"])
    except (TypeError, ValueError, KeyError):
        message = str(error.reason)
    if not error.status and "403" in message:  # of a websocket, whose refusal comes as text
        message = "it does not let you forward a port of a pod (pods/portforward)"
    cure = CURES.get(error.status or (FORBIDDEN if "pods/portforward" in message else 0), "")
    return f"{message}; {cure}" if cure else message
