"""The control channel of a driver in a RayJob: requests and status are annotations of the RayJob."""

import json
import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from stoker.execution.contract import NAMESPACE, POD, RAYJOB, REQUEST, RETRIED_AT, STATUS
from stoker.execution.control_channel import serve
from stoker.jobfile.loading import load_job
from stoker.tracking.run_folder import RunFolder

TIMEOUT_S = 10
JSON_PATCH = "application/json-patch+json"
NO_RIGHT = "an older chart, or policy.enabled: false, gives no right to"
PROGRESS_EVERY = 3
"""Progress is published with every third status, because one API server serves many runs."""


def serve_rayjob(folder: RunFolder) -> AbstractContextManager[None] | None:
    """Serve the control channel of this driver's RayJob until the block ends; None if it has no RayJob."""
    channel = _own_channel()
    if channel is None:
        return None
    channel.renew_retries(load_job(folder.job).job.resources.retries, folder.status().checkpoint_step)
    return serve(channel, folder, PROGRESS_EVERY)


def limit_retries(retries: int) -> None:
    """Have KubeRay count the failures of this driver's run from its first start on, if it has a RayJob."""
    if channel := _own_channel():
        channel.renew_retries(retries, 0)


def ask_for_all_workers() -> None:
    """Have KubeRay create the largest number of worker pods for this driver's run, if it has a RayJob."""
    if channel := _own_channel():
        channel.ask_for_all_workers()


def pods_replacer() -> Callable[[Collection[str], Collection[str]], bool] | None:
    """Return what has KubeRay replace worker pods of this driver's run; None if it has no RayJob.

    It takes the Kubernetes nodes that no worker pod is to run on, and the pods that are there, and returns whether the
    cluster has agreed.
    """
    channel = _own_channel()
    return channel.replace_pods if channel else None


def _own_channel() -> "_RayJobChannel | None":
    name, namespace = os.environ.get(RAYJOB), os.environ.get(NAMESPACE)
    return _RayJobChannel(name, namespace) if name and namespace else None


@contextmanager
def _said(what: str) -> Iterator[None]:
    """Print that the API server could not be told something, and go on."""
    try:
        yield
    except (ApiException, HTTPError) as error:
        reason = getattr(error, "body", None) or error
        print(f"the cluster does not know {what}: {reason}")  # noqa: T201 - the run's log


class _RayJobChannel:
    """The annotations of one RayJob."""

    def __init__(self, name: str, namespace: str) -> None:
        from kubernetes import client, config

        config.load_incluster_config()  # type: ignore[no-untyped-call] # the library types only its API
        self._api = client.CustomObjectsApi()
        self._place = ("ray.io", "v1", namespace, "rayjobs", name)
        self._published: dict[str, str] = {}
        self._driver = {"pod": os.environ.get(POD, ""), "since": time.time()}
        """By which clients see that the driver of a status is lost."""

    def renew_retries(self, retries: int, checkpoint_step: int) -> None:
        """Let KubeRay start the driver again so many more times, if the run has made progress since the last start.

        Args:
            retries: attempts in a row that may make no progress.
            checkpoint_step: step of the newest checkpoint.

        """
        with _said("how often this run may be started again"):
            found: Any = self._api.get_namespaced_custom_object(*self._place, _request_timeout=TIMEOUT_S)
            before = found["metadata"].get("annotations", {}).get(RETRIED_AT)
            if before is not None and checkpoint_step <= int(before):
                return
            failed = found.get("status", {}).get("failed", 0)
            body = {
                "metadata": {"annotations": {RETRIED_AT: str(checkpoint_step)}},
                "spec": {"backoffLimit": failed + retries},
            }
            self._api.patch_namespaced_custom_object(*self._place, body, _request_timeout=TIMEOUT_S)

    def ask_for_all_workers(self) -> None:
        """Raise the worker groups of this driver's Ray cluster to their largest numbers of pods."""
        with _said(f"that this run can have more workers ({NO_RIGHT})"):
            cluster, group = self._workers()
            if group["replicas"] < group["maxReplicas"]:
                self._change_workers(cluster, {"replicas": group["maxReplicas"]})

    def replace_pods(self, nodes: Collection[str], pods: Collection[str]) -> bool:
        """Keep the worker pods of this driver's Ray cluster off some nodes; return whether the cluster agrees.

        Args:
            nodes: Kubernetes nodes, all that are to be left out.
            pods: worker pods that are there; KubeRay deletes them and creates others.

        """
        with _said(f"that {', '.join(sorted(nodes))} must be left out ({NO_RIGHT})"):
            cluster, group = self._workers()
            affinity = without_nodes(group["template"]["spec"].get("affinity", {}), nodes)
            self._change_workers(
                cluster, {"template/spec/affinity": affinity, "scaleStrategy": {"workersToDelete": sorted(pods)}}
            )
            return True
        return False

    def _workers(self) -> tuple[str, dict[str, Any]]:
        """Return the name of this driver's Ray cluster, and its worker group as its RayJob describes it."""
        rayjob: Any = self._api.get_namespaced_custom_object(*self._place, _request_timeout=TIMEOUT_S)
        [group] = rayjob["spec"]["rayClusterSpec"]["workerGroupSpecs"]
        return rayjob.get("status", {}).get("rayClusterName", ""), group

    def _change_workers(self, cluster: str, changes: dict[str, Any]) -> None:
        """Set fields of the worker group of this driver's Ray cluster, by path."""
        place = (*self._place[:3], "rayclusters", cluster)
        patch = [{"op": "add", "path": f"/spec/workerGroupSpecs/0/{path}", "value": v} for path, v in changes.items()]
        self._api.patch_namespaced_custom_object(*place, patch, _request_timeout=TIMEOUT_S, _content_type=JSON_PATCH)

    def request(self) -> str:
        """Return the client's request; empty for none."""
        found: Any = self._api.get_namespaced_custom_object(*self._place, _request_timeout=TIMEOUT_S)
        return str(found["metadata"].get("annotations", {}).get(REQUEST, ""))

    def close(self) -> None:
        """Set the RayJob's backoff limit to 0, so that a finished driver is not started again on a new Ray cluster."""
        with _said("this run is not to be started again"):
            body = {"spec": {"backoffLimit": 0}}
            self._api.patch_namespaced_custom_object(*self._place, body, _request_timeout=TIMEOUT_S)

    def publish(self, name: str, content: dict[str, Any]) -> None:
        """Write an annotation, unless its content is unchanged."""
        text = json.dumps(content | self._driver if name == STATUS else content)
        if self._published.get(name) != text:
            body = {"metadata": {"annotations": {name: text}}}
            self._api.patch_namespaced_custom_object(*self._place, body, _request_timeout=TIMEOUT_S)
            self._published[name] = text


def without_nodes(affinity: dict[str, Any], nodes: Collection[str]) -> dict[str, Any]:
    """Return an affinity of a pod that also leaves out some nodes.

    Args:
        affinity: of the pod, as its template has it.
        nodes: names of nodes.

    """
    left_out = [{"key": "metadata.name", "operator": "NotIn", "values": [node]} for node in sorted(nodes)]
    node_affinity = affinity.get("nodeAffinity", {})
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    terms = node_affinity.get(required, {}).get("nodeSelectorTerms") or [{}]  # one of them has to hold
    terms = [{**term, "matchFields": [*term.get("matchFields", []), *left_out]} for term in terms]
    return {**affinity, "nodeAffinity": {**node_affinity, required: {"nodeSelectorTerms": terms}}}
