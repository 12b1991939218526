"""Why a run waits for its pods."""

from collections.abc import Sequence
from dataclasses import dataclass

from stoker.clusters.kubernetes.metadata import Manifest, seconds
from stoker.clusters.kubernetes.states.events import event_time
from stoker.execution.contract import PACKAGES, UNINSTALLED

CONTAINER_PROBLEMS: dict[str, str] = {
    "ImagePullBackOff": "its image cannot be pulled",
    "ErrImagePull": "its image cannot be pulled",
    "ErrImageNeverPull": "its image is not on the node",
    "InvalidImageName": "its image name is invalid",
    "CreateContainerConfigError": "something its container needs is missing",
    "CreateContainerError": "its container cannot be created",
    "CrashLoopBackOff": "its container exits as soon as it starts",
}
"""Reasons of a waiting container that do not go away by themselves."""
CREATION = frozenset(
    {"FailedCreate", "FailedToCreateHeadPod", "FailedToCreateWorkerPod", "FailedToCreateRayJobSubmitter"}
)
"""Events about a pod that does not exist yet; solved once a later pod does."""
MOUNTED = frozenset({"Pulling", "Pulled", "Created", "Started"})
"""Events of a pod after its volumes were mounted."""
TRANSIENT_MOUNT = "failed to sync"
"""Part of the message about a Secret or ConfigMap that the kubelet has not read yet; it retries by itself."""
QUOTA_CURE = "ask the cluster's administrator for more quota, or lower resources"
CURES: dict[str, str] = {
    "ImagePullBackOff": "see environment.image, and the cluster's pull secret",
    "ErrImagePull": "see environment.image, and the cluster's pull secret",
    "ErrImageNeverPull": "see environment.image",
    "InvalidImageName": "see environment.image",
    "CreateContainerConfigError": "ask the cluster's administrator for it",
    "FailedScheduling": "lower resources, or wait for capacity",
    "FailedMount": "ask the cluster's administrator for the volume",
    "FailedCreate": QUOTA_CURE,
    "FailedToCreateHeadPod": QUOTA_CURE,
    "FailedToCreateWorkerPod": QUOTA_CURE,
    "FailedToCreateRayJobSubmitter": QUOTA_CURE,
}
NO_ROOM = CREATION | {"FailedScheduling"}
"""Reasons that another run's end may mend."""


@dataclass(frozen=True)
class Hindrance:
    """What is in the way of a run's pods."""

    text: str
    """With the cure; empty if nothing is in the way."""
    for_room: bool = False
    """Whether they wait for resources."""


def hindrance(pods: Sequence[Manifest], events: Sequence[Manifest], workload: Manifest | None = None) -> Hindrance:
    """Return why a run has not started; its text is empty if nothing blocks it.

    Args:
        pods: of the run.
        events: of the run and its objects.
        workload: Kueue's object of the run.

    """
    if reason := _queue_reason(workload):
        return Hindrance(reason)
    scheduled = set()
    for pod in pods:
        name, status = pod["metadata"]["name"], pod["status"]
        for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
            end = container.get("state", {}).get("terminated", {})
            if container.get("name") == PACKAGES and end.get("message"):
                return Hindrance(f"{UNINSTALLED}: {end['message']}")
            waiting = container.get("state", {}).get("waiting", {})
            if waiting.get("reason") in CONTAINER_PROBLEMS:
                problem = CONTAINER_PROBLEMS[waiting["reason"]]
                detail = waiting.get("message") or container["image"]
                return _with_cure(f"{name}: {problem} ({detail})", waiting["reason"])
        for condition in status.get("conditions") or []:
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return _with_cure(f"{name} cannot be scheduled: {condition.get('message', '')}", "FailedScheduling")
            if condition["type"] == "PodScheduled":
                scheduled.add(name)
    return _warning(pods, events, scheduled)


def _warning(pods: Sequence[Manifest], events: Sequence[Manifest], scheduled: set[str]) -> Hindrance:
    """Return the last warning that still applies: warnings stay among the events for an hour after they are solved."""
    mounted = {event["involvedObject"]["name"] for event in events if event.get("reason") in MOUNTED}
    solved = {"FailedScheduling": scheduled, "FailedMount": mounted}
    newest_pod = max((seconds(pod["metadata"]["creationTimestamp"]) for pod in pods), default=0.0)
    warnings = [
        event
        for event in events
        if event.get("type") == "Warning"
        and event.get("reason") in CURES
        and event["involvedObject"]["name"] not in solved.get(event["reason"], ())
        and not (event["reason"] == "FailedMount" and TRANSIENT_MOUNT in event.get("message", ""))
        and not (event["reason"] in CREATION and event_time(event) < newest_pod)
    ]
    if not warnings:
        return Hindrance("")
    last = max(warnings, key=event_time)
    return _with_cure(f"{last['involvedObject']['name']}: {last.get('message', '')}", last["reason"])


def _queue_reason(workload: Manifest | None) -> str:
    """Return what Kueue waits for; empty if it has admitted the run, or does not know it."""
    conditions = {each["type"]: each for each in (workload or {}).get("status", {}).get("conditions", [])}
    if conditions.get("Admitted", {}).get("status") == "True":
        return ""
    for kind in ("Evicted", "QuotaReserved"):
        condition = conditions.get(kind, {})
        if condition.get("message") and condition["status"] == ("True" if kind == "Evicted" else "False"):
            return f"in its queue: {condition['message']}"
    return ""


def _with_cure(problem: str, reason: str) -> Hindrance:
    cure = CURES.get(reason, "")
    return Hindrance(f"{problem}; {cure}" if cure else problem, for_room=reason in NO_ROOM)
