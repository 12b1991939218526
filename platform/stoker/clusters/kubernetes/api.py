"""The calls that Stoker makes to a Kubernetes API server."""

import base64
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config import incluster_config, kube_config
from pydantic import ValidationError

from stoker.clusters.kubernetes.api_errors import AlreadyExists, ignore_not_found, translated_errors
from stoker.clusters.kubernetes.metadata import annotations_of, owned_by
from stoker.clusters.kubernetes.profile import Profile
from stoker.clusters.run_inputs import RUN_LABEL
from stoker.errors import ClusterError, NotFound, Unreachable
from stoker.settings import ClusterSettings

PROFILE = "stoker-profile"
"""Name of the ConfigMap that holds the administrator's settings."""
TIMEOUT_S = 10
LOG_TIMEOUT_S = 60.0
DELETE_TIMEOUT_S = 60.0
POLL_S = 1.0
RAYJOBS = ("ray.io", "v1")
WORKLOADS = ("v1beta2", "v1beta1")
"""Versions of Kueue's API, the newest first."""
PERMISSIONS = (
    ("create", "ray.io", "rayjobs"),
    ("patch", "ray.io", "rayjobs"),
    ("delete", "ray.io", "rayjobs"),
    ("create", "", "configmaps"),
    ("list", "", "pods"),
    ("list", "", "events"),
)
"""Permissions that a submitter needs."""


def current_context() -> str:
    """Return the kubeconfig's current context; empty if there is none, such as within a pod."""
    try:
        _, active = config.list_kube_config_contexts()  # type: ignore[no-untyped-call] # the library types only its API
    except config.ConfigException:
        return ""
    return str(active["name"]) if active else ""


def client_configuration(context: str) -> Any:
    """Return the address and credentials of a kubeconfig's context.

    A pod without a kubeconfig uses those of its service account instead, unless a context is named.

    Args:
        context: name in the kubeconfig; empty for its current one.

    """
    access = client.Configuration()
    files = [Path(each).expanduser() for each in kube_config.KUBE_CONFIG_DEFAULT_LOCATION.split(os.pathsep)]
    in_pod = Path(incluster_config.SERVICE_TOKEN_FILENAME).exists()
    if in_pod and not context and not any(file.exists() for file in files):
        config.load_incluster_config(access)  # type: ignore[no-untyped-call] # the library types only its API
    else:
        config.load_kube_config(  # type: ignore[no-untyped-call] # the library types only its API
            context=context or None, client_configuration=access
        )
    return access


class KubeApi:
    """Client of one namespace."""

    def __init__(self, cluster: ClusterSettings) -> None:
        self.cluster = cluster
        self.namespace = cluster.namespace
        with translated_errors(self.cluster):
            self._client = self._new_client()
        self._objects: Any = client.CustomObjectsApi(self._client)

    @cached_property
    def _core(self) -> Any:
        """Client for pods, events and services; it takes a second to load, so a submission does without it."""
        return client.CoreV1Api(self._client)

    def profile(self) -> Profile:
        """Return the administrator's settings for runs.

        Raises:
            NotFound: the chart is not installed in the namespace.
            ClusterError: it cannot be read.

        """
        found = self.config_map(PROFILE)
        if found is None:
            where = f"namespace '{self.namespace}' of cluster '{self.cluster.name}'"
            cure = "install the chart there, or name another namespace"
            raise NotFound(f"{where} has no settings for runs (ConfigMap {PROFILE}); {cure}")
        import yaml

        content = yaml.safe_load(found.get("profile.yaml", ""))
        try:
            return Profile.model_validate({key: content[key] for key in content if key in Profile.model_fields})
        except (ValidationError, TypeError) as error:
            reason = str(error).replace("\n", " ")
            raise ClusterError(
                f"the settings for runs in ConfigMap {PROFILE} are invalid: {reason}; tell the cluster's administrator"
            ) from error

    def config_map(self, name: str) -> dict[str, str] | None:
        """Return the data of a ConfigMap; None if it does not exist."""
        with translated_errors(self.cluster), ignore_not_found():
            return dict(self._config_maps("GET", f"/{name}").get("data") or {})
        return None

    def missing_permissions(self) -> list[str]:
        """Return the permissions of a submitter that the server would refuse, such as `create rayjobs`."""
        reviews: Any = client.AuthorizationV1Api(self._client)
        missing = []
        for verb, group, resource in PERMISSIONS:
            attributes = {"namespace": self.namespace, "verb": verb, "group": group, "resource": resource}
            with translated_errors(self.cluster):
                answer = reviews.create_self_subject_access_review(
                    {"spec": {"resourceAttributes": attributes}}, _request_timeout=TIMEOUT_S
                )
            if not answer.status.allowed:
                missing.append(f"{verb} {resource}")
        return missing

    def secret(self, name: str) -> dict[str, str]:
        """Return the content of a Secret.

        Raises:
            ClusterError: it does not exist, or may not be read.

        """
        with translated_errors(self.cluster):
            found = self._core.read_namespaced_secret(name, self.namespace, _request_timeout=TIMEOUT_S)
        return {key: base64.b64decode(value).decode() for key, value in (found.data or {}).items()}

    def dry_run(self, rayjob: dict[str, Any]) -> None:
        """Have the server check a RayJob without creating it."""
        self._post_rayjob(rayjob, dry_run="All")

    def create(self, rayjob: dict[str, Any], inputs: list[dict[str, Any]]) -> None:
        """Create a RayJob and the ConfigMaps that its pods wait for, which are deleted with it.

        Raises:
            AlreadyExists: a RayJob of this name exists.

        """
        run = rayjob["metadata"]["name"]
        try:
            created = self._post_rayjob(rayjob)
        except Unreachable as error:  # the request may have arrived, and the response been lost
            created = self.rayjob(run)
            if created is None:
                raise
            if not annotations_of(rayjob).items() <= annotations_of(created).items():
                raise AlreadyExists(f"cluster '{self.cluster.name}' has another RayJob {run}") from error
        try:
            for each in inputs:
                with translated_errors(self.cluster):
                    self._config_maps("POST", "", owned_by(each, created))
        except BaseException:  # its pods would wait forever
            self.delete(run)
            raise

    def rayjob(self, run: str) -> Any:
        """Return a RayJob; None if it does not exist."""
        with translated_errors(self.cluster), ignore_not_found():
            return self._objects.get_namespaced_custom_object(
                *RAYJOBS, self.namespace, "rayjobs", run, _request_timeout=TIMEOUT_S
            )
        return None

    def rayjobs(self) -> list[Any]:
        """Return the RayJobs of all runs."""
        with translated_errors(self.cluster):
            found = self._objects.list_namespaced_custom_object(
                *RAYJOBS, self.namespace, "rayjobs", label_selector=RUN_LABEL, _request_timeout=TIMEOUT_S
            )
        return list(found["items"])

    def annotate(self, run: str, annotation: str, text: str) -> None:
        """Write an annotation of a RayJob.

        Raises:
            NotFound: it does not exist any more.

        """
        body = {"metadata": {"annotations": {annotation: text}}}
        with translated_errors(self.cluster):
            try:
                self._objects.patch_namespaced_custom_object(
                    *RAYJOBS, self.namespace, "rayjobs", run, body, _request_timeout=TIMEOUT_S
                )
            except ApiException as error:
                if error.status == HTTPStatus.NOT_FOUND:
                    raise NotFound(f"{run} no longer has a RayJob") from error
                raise

    def delete(self, run: str) -> None:
        """Delete a RayJob and everything that belongs to it, if it exists."""
        with translated_errors(self.cluster), ignore_not_found():
            self._objects.delete_namespaced_custom_object(
                *RAYJOBS, self.namespace, "rayjobs", run, _request_timeout=TIMEOUT_S
            )

    def wait_until_deleted(self, run: str) -> None:
        """Wait until a RayJob and its inputs are gone.

        Raises:
            ClusterError: it takes too long.

        """
        deadline = time.monotonic() + DELETE_TIMEOUT_S
        while self.rayjob(run) is not None or self.config_map(run) is not None:
            if time.monotonic() > deadline:
                raise ClusterError(f"the RayJob {run} of the last attempt is not being deleted; delete it, then resume")
            time.sleep(POLL_S)

    def pods(self, selector: str) -> list[Any]:
        """Return the pods with these labels."""
        with translated_errors(self.cluster):
            found = self._core.list_namespaced_pod(self.namespace, label_selector=selector, _request_timeout=TIMEOUT_S)
        return list(found.items)

    def events(self, run: str) -> list[Any]:
        """Return the events of a run's objects, whose names all begin with its own, and of Kueue's."""
        with translated_errors(self.cluster):
            found = self._core.list_namespaced_event(self.namespace, _request_timeout=TIMEOUT_S)
        return [event for event in found.items if event.involved_object.name.startswith((run, f"rayjob-{run}"))]

    def workload(self, run: str) -> Any:
        """Return Kueue's object of a run; None if there is none, or no Kueue."""
        for version in WORKLOADS:
            with translated_errors(self.cluster), ignore_not_found(HTTPStatus.FORBIDDEN):
                found = self._objects.list_namespaced_custom_object(
                    "kueue.x-k8s.io", version, self.namespace, "workloads", _request_timeout=TIMEOUT_S
                )
                return next((each for each in found["items"] if _owner(each) == run), None)
        return None

    def pod_log(self, pod: str, since_s: int | None) -> str:
        """Return what a pod has printed, each line after its time; empty if it has not started or is gone."""
        options = {"since_seconds": since_s} if since_s else {}
        with translated_errors(self.cluster), ignore_not_found(HTTPStatus.BAD_REQUEST):
            return str(
                self._core.read_namespaced_pod_log(
                    pod, self.namespace, timestamps=True, _request_timeout=LOG_TIMEOUT_S, **options
                )
            )
        return ""

    @contextmanager
    def port_forward(self, service: str, namespace: str, port: int, local: int = 0) -> Iterator[int]:
        """Forward a local port to a pod of a service during the block, and yield the local port.

        Raises:
            Unreachable: no pod of the service is running.

        """
        from stoker.clusters.kubernetes.port_forward import forwarded_port

        with translated_errors(self.cluster):
            found = self._core.read_namespaced_service(service, namespace, _request_timeout=TIMEOUT_S)
            labels = ",".join(f"{key}={value}" for key, value in (found.spec.selector or {}).items())
            pods = self._core.list_namespaced_pod(namespace, label_selector=labels, _request_timeout=TIMEOUT_S).items
            ready = [pod for pod in pods if pod.status.phase == "Running"]
        if not ready:
            raise Unreachable(f"no pod of {service} in namespace '{namespace}' is running")
        name = ready[0].metadata.name
        with ExitStack() as stack:
            with translated_errors(self.cluster):
                pod_port = _pod_port(found, ready[0], port)
                forward = forwarded_port(self._new_client(), namespace, name, pod_port, local)
                local_port = stack.enter_context(forward)
            yield local_port

    def _new_client(self) -> Any:
        access = client_configuration(self.cluster.kube_context)
        access.retries = 0  # an outage is reported at once; polling tries again
        return client.ApiClient(access)

    def _config_maps(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request about ConfigMaps as plain JSON, without the slow import of the typed client."""
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

    def _post_rayjob(self, rayjob: dict[str, Any], **options: str) -> Any:
        with translated_errors(self.cluster):
            return self._objects.create_namespaced_custom_object(
                *RAYJOBS,
                self.namespace,
                "rayjobs",
                rayjob,
                field_validation="Strict",
                _request_timeout=TIMEOUT_S,
                **options,
            )


def _owner(workload: dict[str, Any]) -> str:
    owners = workload["metadata"].get("ownerReferences", [])
    return next((owner["name"] for owner in owners if owner["kind"] == "RayJob"), "")


def _pod_port(service: Any, pod: Any, port: int) -> int:
    """Return the port of a pod to which a port of a service leads."""
    target = next((each.target_port for each in service.spec.ports if each.port == port), port)
    if isinstance(target, int):
        return target
    ports = [named for container in pod.spec.containers for named in container.ports or []]
    return next((named.container_port for named in ports if named.name == target), port)
