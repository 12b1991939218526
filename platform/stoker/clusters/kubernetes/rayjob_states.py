"""What KubeRay and the pods of a run say, in our states and words."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from stoker.clusters.runtime_env_failure import SETUP, setup_failure
from stoker.errors import CAUSES, Cause
from stoker.tracking.run import RunStatus, State, now

DEPLOYMENT: dict[str, State] = {
    "": State.PROVISIONING,  # the operator has not seen it yet
    "Initializing": State.PROVISIONING,  # pods are being made
    "Waiting": State.PROVISIONING,  # for somebody to submit, which our mode does by itself
    "Running": State.STARTING,  # Ray is up; the driver has not spoken yet
    "Suspending": State.QUEUED,  # Kueue takes its place away
    "Suspended": State.QUEUED,  # Kueue has not given it a place
    "Retrying": State.RETRYING,  # a new Ray comes in place of one that was lost
    "Complete": State.INTERRUPTED,  # over, and the driver has not said how
    "Failed": State.FAILED,
    "ValidationFailed": State.FAILED,
}
"""KubeRay's jobDeploymentStatus, where the driver has not spoken, or speaks no more."""
REASONS: dict[str, Cause] = {
    "DeadlineExceeded": Cause.TIMED_OUT,
    "PreRunningDeadlineExceeded": Cause.NO_CAPACITY,
    "SubmissionFailed": Cause.INFRASTRUCTURE,
    "AppFailed": Cause.INFRASTRUCTURE,  # what fails in a run, its driver tells; here the driver itself was lost
    "ValidationFailed": Cause.INTERNAL,
}
"""KubeRay's reasons of a failure."""
WAITING: dict[str, str] = {
    "ImagePullBackOff": "its image cannot be pulled",
    "ErrImagePull": "its image cannot be pulled",
    "ErrImageNeverPull": "its image is not on the node",
    "InvalidImageName": "its image has a name that no image can have",
    "CreateContainerConfigError": "what its container needs is missing",
    "CreateContainerError": "its container cannot be made",
    "CrashLoopBackOff": "its container ends as soon as it begins",
}
"""A container's reasons to wait that do not pass by themselves."""
MOUNTED = frozenset({"Pulling", "Pulled", "Created", "Started"})
"""What a kubelet says of a pod whose volumes it has mounted."""
PASSING = "failed to sync"
"""A kubelet's word on a Secret or ConfigMap it has not read yet: it asks again by itself, and says what is wrong."""
CURES: dict[str, str] = {
    "ImagePullBackOff": "see environment.image, and the cluster's pull secret",
    "ErrImagePull": "see environment.image, and the cluster's pull secret",
    "ErrImageNeverPull": "see environment.image",
    "InvalidImageName": "see environment.image",
    "CreateContainerConfigError": "ask the cluster's administrator for it",
    "FailedScheduling": "lower resources, or wait for room",
    "FailedMount": "ask the cluster's administrator for the volume",
    "FailedCreate": "ask the cluster's administrator for more quota, or lower resources",
}


def run_status(rayjob: dict[str, Any], said: RunStatus, spoke: bool) -> RunStatus:
    """Derive a run's status: its driver's word, as long as there is a driver, else KubeRay's.

    Args:
        rayjob: the status of the RayJob.
        said: what the driver said last.
        spoke: whether it has said anything yet.

    """
    deployment = str(rayjob.get("jobDeploymentStatus", ""))
    if said.state.final or said.state is State.PAUSED:
        return said
    state = DEPLOYMENT.get(deployment, State.UNKNOWN)
    if spoke and state is State.STARTING:
        return said
    if state is State.FAILED:
        cause = REASONS.get(str(rayjob.get("reason", "")), Cause.INFRASTRUCTURE)
        message = str(rayjob.get("message", "")).strip() or f"KubeRay says {rayjob.get('reason', deployment)}"
        if message.startswith(SETUP):
            cause, message = Cause.INTERNAL, f"its packages could not be installed: {setup_failure(message)}"
        code = CAUSES[cause].exit_code
        return replace(said, state=state, phase="", cause=cause, message=message, ended=now(), exit_code=code)
    if state is State.INTERRUPTED:
        return replace(said, state=state, phase="", message="its driver ended without a word", ended=now())
    installs = state is State.STARTING and rayjob.get("jobStatus") == "PENDING"
    return replace(said, state=state, phase="getting its packages" if installs else _phase(state), message="")


def why_it_waits(pods: Iterable[Any], events: Sequence[Any], workload: Any = None) -> str:
    """Say why a run has not begun, with the cure; empty where nothing is in its way.

    Args:
        pods: of the run.
        events: about the run and its objects.
        workload: what Kueue holds of it.

    """
    if said := _queued(workload):
        return said
    placed = set()
    for pod in pods:
        for status in [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]:
            waiting = status.state.waiting if status.state else None
            if waiting and waiting.reason in WAITING:
                what = f"{pod.metadata.name}: {WAITING[waiting.reason]} ({waiting.message or status.image})"
                return _with_cure(what, waiting.reason)
        for condition in pod.status.conditions or []:
            if condition.type == "PodScheduled" and condition.status == "False":
                return _with_cure(f"{pod.metadata.name} has no place: {condition.message}", "FailedScheduling")
            if condition.type == "PodScheduled":
                placed.add(pod.metadata.name)
    # What was said of a pod before it got its place and its volumes stays among the events for an hour.
    over = {"FailedScheduling": placed, "FailedMount": {e.involved_object.name for e in events if e.reason in MOUNTED}}
    warnings = [event for event in events if event.type == "Warning" and event.reason in CURES]
    warnings = [e for e in warnings if e.involved_object.name not in over.get(e.reason, ())]
    warnings = [e for e in warnings if e.reason != "FailedMount" or PASSING not in e.message]
    if warnings:
        last = max(warnings, key=lambda event: event.metadata.creation_timestamp)
        return _with_cure(f"{last.involved_object.name}: {last.message}", last.reason)
    return ""


def _queued(workload: Any) -> str:
    """Say what Kueue waits for; empty where it has given the run its place, or does not know it."""
    conditions = {each["type"]: each for each in (workload or {}).get("status", {}).get("conditions", [])}
    if conditions.get("Admitted", {}).get("status") == "True":
        return ""
    for kind in ("Evicted", "QuotaReserved"):
        condition = conditions.get(kind, {})
        if condition.get("message") and condition["status"] == ("True" if kind == "Evicted" else "False"):
            return f"in its queue: {condition['message']}"
    return ""


def _with_cure(what: str, reason: str) -> str:
    cure = CURES.get(reason, "")
    return f"{what}; {cure}" if cure else what


def _phase(state: State) -> str:
    return {State.QUEUED: "waiting in its queue", State.PROVISIONING: "getting its pods"}.get(state, "starting Ray")
