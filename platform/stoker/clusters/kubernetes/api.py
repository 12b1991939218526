"""The calls that Stoker makes to a Kubernetes API server."""

import base64
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from urllib.parse import quote

from kubernetes import config
from pydantic import ValidationError

from stoker.clusters.kubernetes.api_errors import AlreadyExists
from stoker.clusters.kubernetes.metadata import Manifest, annotations_of, owned_by
from stoker.clusters.kubernetes.profile import Profile
from stoker.clusters.kubernetes.rest import KubeRest
from stoker.clusters.run_inputs import RUN_LABEL
from stoker.errors import ClusterError, NotFound, Unreachable
from stoker.settings import ClusterSettings

PROFILE = "stoker-profile"
"""Name of the ConfigMap that holds the administrator's settings."""
LOG_TIMEOUT_S = 60.0
DELETE_TIMEOUT_S = 60.0
POLL_S = 1.0
KUEUE = ("/apis/kueue.x-k8s.io/v1beta2", "/apis/kueue.x-k8s.io/v1beta1")
"""Versions of Kueue's API, the newest first."""
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
PERMISSIONS = (
    ("create", "ray.io", "rayjobs"),
    ("patch", "ray.io", "rayjobs"),
    ("delete", "ray.io", "rayjobs"),
    ("create", "", "configmaps"),
    ("create", "", "podtemplates"),
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


class KubeApi:
    """Client of one namespace."""

    def __init__(self, cluster: ClusterSettings) -> None:
        self.cluster = cluster
        self.namespace = cluster.namespace
        self._rest = KubeRest(cluster)
        self._core = f"/api/v1/namespaces/{self.namespace}"
        self._rayjobs = f"/apis/ray.io/v1/namespaces/{self.namespace}/rayjobs"

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
        found = self._rest.find(f"{self._core}/configmaps/{name}")
        return None if found is None else dict(found.get("data") or {})

    def missing_permissions(self) -> list[str]:
        """Return the permissions of a submitter that the server would refuse, such as `create rayjobs`."""
        missing = []
        for verb, group, resource in PERMISSIONS:
            attributes = {"namespace": self.namespace, "verb": verb, "group": group, "resource": resource}
            review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
            answer = self._rest.post(REVIEWS, {**review, "spec": {"resourceAttributes": attributes}})
            if not answer["status"].get("allowed"):
                missing.append(f"{verb} {resource}")
        return missing

    def secret(self, name: str) -> dict[str, str]:
        """Return the content of a Secret.

        Raises:
            ClusterError: it does not exist, or may not be read.

        """
        found = self._rest.get(f"{self._core}/secrets/{name}")
        return {key: base64.b64decode(value).decode() for key, value in (found.get("data") or {}).items()}

    def dry_run(self, rayjob: Manifest) -> None:
        """Have the server check a RayJob, and each of its pods, without creating them.

        Raises:
            AlreadyExists: a RayJob of this name exists.
            ClusterError: the server would refuse one of them; KubeRay itself would try to create the pod for ever.

        """
        self._post_rayjob(rayjob, dryRun="All")
        name, cluster = rayjob["metadata"]["name"], rayjob["spec"]["rayClusterSpec"]
        groups = (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])
        for pod in (rayjob["spec"]["submitterPodTemplate"], *(group["template"] for group in groups)):
            body = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"generateName": f"{name}-"}}
            self._rest.post(f"{self._core}/podtemplates", {**body, "template": pod}, dryRun="All")

    def create(self, rayjob: Manifest, inputs: list[Manifest]) -> None:
        """Create a RayJob and the ConfigMaps that its pods wait for, which are deleted with it.

        Raises:
            AlreadyExists: a RayJob of this name exists.

        """
        run = rayjob["metadata"]["name"]
        try:
            created: Manifest | None = self._post_rayjob(rayjob)
        except Unreachable as error:  # the request may have arrived, and the response been lost
            created = self.rayjob(run)
            if created is None:
                raise
            if not annotations_of(rayjob).items() <= annotations_of(created).items():
                raise AlreadyExists(f"cluster '{self.cluster.name}' has another RayJob {run}") from error
        assert created is not None
        try:
            for each in inputs:
                self._rest.post(f"{self._core}/configmaps", owned_by(each, created))
        except BaseException:  # its pods would wait forever
            self.delete(run)
            raise

    def rayjob(self, run: str) -> Manifest | None:
        """Return a RayJob; None if it does not exist."""
        return self._rest.find(f"{self._rayjobs}/{run}")

    def rayjobs(self) -> list[Manifest]:
        """Return the RayJobs of all runs."""
        return list(self._rest.get(self._rayjobs, labelSelector=RUN_LABEL)["items"])

    def annotate(self, run: str, annotation: str, text: str) -> None:
        """Write an annotation of a RayJob.

        Raises:
            NotFound: it does not exist any more.

        """
        body = {"metadata": {"annotations": {annotation: text}}}
        if self._rest.patch(f"{self._rayjobs}/{run}", body) is None:
            raise NotFound(f"{run} no longer has a RayJob")

    def delete(self, run: str) -> None:
        """Delete a RayJob and everything that belongs to it, if it exists."""
        self._rest.delete(f"{self._rayjobs}/{run}")

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

    def pods(self, selector: str, namespace: str = "") -> list[Manifest]:
        """Return the pods with these labels, from the server's cache."""
        path = f"/api/v1/namespaces/{namespace or self.namespace}/pods"
        return list(self._rest.get(path, labelSelector=selector, resourceVersion="0")["items"])

    def events(self, run: str) -> list[Manifest]:
        """Return the events of a run's objects, whose names all begin with its own, and of Kueue's."""
        found = self._rest.get(f"{self._core}/events")["items"]
        return [event for event in found if event["involvedObject"].get("name", "").startswith((run, f"rayjob-{run}"))]

    def workload(self, run: str) -> Manifest | None:
        """Return Kueue's object of a run; None if there is none, or no Kueue."""
        for api in KUEUE:
            found = self._rest.find(f"{api}/namespaces/{self.namespace}/workloads", HTTPStatus.FORBIDDEN)
            if found is not None:
                return next((each for each in found["items"] if _owner(each) == run), None)
        return None

    def queues(self) -> list[str] | None:
        """Return the names of Kueue's queues in the namespace; None without Kueue, or if they may not be read."""
        return self._names(f"namespaces/{self.namespace}/localqueues")

    def priorities(self) -> list[str] | None:
        """Return the names of Kueue's priority classes; None without Kueue, or if they may not be read."""
        return self._names("workloadpriorityclasses")

    def pod_log(self, pod: str, since_s: int | None) -> str:
        """Return what a pod has printed, each line after its time; empty if it has not started or is gone."""
        options = {"sinceSeconds": str(since_s)} if since_s else {}
        return self._rest.text(f"{self._core}/pods/{quote(pod)}/log", LOG_TIMEOUT_S, timestamps="true", **options)

    @contextmanager
    def port_forward(self, service: str, namespace: str, port: int, local: int = 0) -> Iterator[int]:
        """Forward a local port to a pod of a service during the block, and yield the local port.

        Each connection goes to a pod that is ready at its time.

        Raises:
            Unreachable: no pod of the service is running.

        """
        from stoker.clusters.kubernetes.port_forward import forwarded_port

        found = self._rest.get(f"/api/v1/namespaces/{namespace}/services/{service}")
        labels = ",".join(f"{key}={value}" for key, value in (found["spec"].get("selector") or {}).items())

        def ready_pod() -> tuple[str, int]:
            pods = [pod for pod in self.pods(labels, namespace) if is_ready(pod)]
            if not pods:
                raise Unreachable(f"no pod of {service} in namespace '{namespace}' is running")
            return pods[0]["metadata"]["name"], _pod_port(found, pods[0], port)

        with forwarded_port(self._rest.new_client(), self.cluster, namespace, ready_pod, local) as local_port:
            yield local_port

    def _names(self, path: str) -> list[str] | None:
        for api in KUEUE:
            found = self._rest.find(f"{api}/{path}", HTTPStatus.FORBIDDEN)
            if found is not None:
                return sorted(each["metadata"]["name"] for each in found["items"])
        return None

    def _post_rayjob(self, rayjob: Manifest, **options: str) -> Manifest:
        return self._rest.post(self._rayjobs, rayjob, fieldValidation="Strict", **options)


def _owner(workload: Manifest) -> str:
    owners = workload["metadata"].get("ownerReferences", [])
    return next((owner["name"] for owner in owners if owner["kind"] == "RayJob"), "")


def is_ready(pod: Manifest) -> bool:
    """Return whether a pod takes requests."""
    conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions") or []}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def _pod_port(service: Manifest, pod: Manifest, port: int) -> int:
    """Return the port of a pod to which a port of a service leads."""
    target = next((each.get("targetPort") for each in service["spec"]["ports"] if each["port"] == port), port)
    if isinstance(target, int):
        return target
    ports = [named for container in pod["spec"]["containers"] for named in container.get("ports") or []]
    return next((int(named["containerPort"]) for named in ports if named.get("name") == target), port)
