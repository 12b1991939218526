"""Pods that a run has lost: its client sees it before its driver does, and where the driver itself is lost."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from stoker.clusters.kubernetes.metadata import Manifest, annotations_of, seconds
from stoker.clusters.kubernetes.pods import OWN_CONTAINERS
from stoker.clusters.kubernetes.states.events import pod_name
from stoker.clusters.kubernetes.states.rayjob_states import clock
from stoker.execution.contract import STATUS

NOTICED_AFTER_S = 120.0
"""A driver has noticed that a worker is lost, and begun another attempt, after this time; it also bounds the error of
clocks that differ."""
NODE_TYPE = "ray.io/node-type"


@dataclass(frozen=True)
class Loss:
    """Pods that are gone, or about to be."""

    driver: bool
    """Whether the driver is lost."""
    what: str
    """Such as `1 of 2 worker pods (OOMKilled)`."""
    since: float
    """Seconds since 1970; 0 if nothing shows it."""
    waits_for: str
    """What comes next."""

    def text(self, reason: str, then: str) -> str:
        """Return the message of a run.

        Args:
            reason: why its new pods do not start; empty if nothing is in their way.
            then: what follows.

        """
        at = f" at {clock(self.since)}" if self.since else ""
        waits = f"{self.waits_for}: {reason}" if reason else self.waits_for
        return f"lost {self.what}{at}; waiting for {waits}; {then}"


def driver_is_lost(rayjob: Manifest, pods: Sequence[Manifest]) -> bool:
    """Return whether the pod of the driver that has reported last does not run any more, or has started again."""
    report = json.loads(annotations_of(rayjob).get(STATUS, "{}"))
    if "pod" not in report:
        return False
    return not any(
        pod["metadata"]["name"] == report["pod"] and _stands(pod) and _started(pod) <= report["since"] for pod in pods
    )


def lost_pods(rayjob: Manifest, pods: Sequence[Manifest], attempt_started: float, now: float) -> Loss | None:
    """Return what a run whose driver has reported lacks of its pods; None if all of them run.

    Args:
        rayjob: of the run.
        pods: of the run.
        attempt_started: when the last attempt began, in seconds since 1970; pods that are younger take no part in it.
            0 for a run without attempts.
        now: in seconds since 1970.

    """
    run = rayjob["metadata"]["name"]
    heads = [pod for pod in pods if pod["metadata"].get("labels", {}).get(NODE_TYPE) == "head"]
    workers = [pod for pod in pods if pod["metadata"].get("labels", {}).get(NODE_TYPE) == "worker"]
    if driver_is_lost(rayjob, pods):
        return _loss(True, "its head", "the driver on a new head", heads, run)
    wanted = sum(group["minReplicas"] for group in rayjob["spec"]["rayClusterSpec"]["workerGroupSpecs"])
    since = max(attempt_started, now - NOTICED_AFTER_S) if attempt_started else math.inf
    missing = wanted - sum(_stands(pod) and _started(pod) <= since for pod in workers)
    if missing <= 0:
        return None
    what = f"{missing} of {wanted} worker pods" if wanted > 1 else "its worker pod"
    return _loss(False, what, "new worker pods" if missing > 1 else "a new worker pod", workers, run, since)


def _loss(driver: bool, what: str, waits_for: str, pods: Sequence[Manifest], run: str, since: float = math.inf) -> Loss:
    """Describe a loss by the pods that fail, and by those that replace them."""
    failed = [pod for pod in pods if _failure(pod)]
    new = [pod for pod in pods if not _failure(pod) and not (_stands(pod) and _started(pod) <= since)]
    what = f"{what} ({', '.join(sorted(set(map(_failure, failed))))})" if failed else what
    names = ", ".join(pod_name(pod["metadata"]["name"], run) for pod in new)
    times = [_started(pod) if _stands(pod) else seconds(pod["metadata"]["creationTimestamp"]) for pod in new]
    return Loss(driver, what, min(times, default=0.0), f"{waits_for} ({names})" if new else waits_for)


def _own_containers(pod: Manifest) -> list[Manifest]:
    """Return the states of a pod's containers, without those that its administrator has added."""
    found = pod["status"].get("containerStatuses") or []
    return [each for each in found if each.get("name") in OWN_CONTAINERS]


def _stands(pod: Manifest) -> bool:
    containers = _own_containers(pod)
    runs = bool(containers) and all("running" in each.get("state", {}) for each in containers)
    return runs and "deletionTimestamp" not in pod["metadata"]


def _started(pod: Manifest) -> float:
    """Return when the container of a pod that stands has started last, in seconds since 1970."""
    times = [each["state"]["running"]["startedAt"] for each in _own_containers(pod)]
    return max(map(seconds, times))


def _failure(pod: Manifest) -> str:
    """Return why a pod does not run any more; empty if it does, or has not started yet."""
    status = pod["status"]
    if status.get("phase") in ("Failed", "Succeeded"):
        ends = [each.get("state", {}).get("terminated", {}) for each in status.get("containerStatuses") or []]
        return str(status.get("reason") or next((end["reason"] for end in ends if "reason" in end), "ended"))
    if "deletionTimestamp" in pod["metadata"]:
        return str(status.get("reason") or "deleted")
    for container in _own_containers(pod):
        state = container.get("state", {})
        end = state.get("terminated") or (
            container.get("lastState", {}).get("terminated") if "waiting" in state else {}
        )
        if end:
            return str(end.get("reason", "ended"))
    return ""
