"""From the state of a RayJob and its pods to the status of its run, and to the reason why it waits."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from stoker.clusters.runtime_env_failure import PREFIX, setup_failure
from stoker.errors import CAUSES, Cause
from stoker.tracking.run import RunStatus, State, now

STATES: dict[str, State] = {
    "": State.PROVISIONING,  # not yet seen by the operator
    "Initializing": State.PROVISIONING,  # its pods are being created
    "Waiting": State.PROVISIONING,  # for a submission, which our mode does by itself
    "Running": State.STARTING,  # Ray is up; the driver has not reported yet
    "Suspending": State.QUEUED,  # Kueue is evicting it
    "Suspended": State.QUEUED,  # not yet admitted by Kueue
    "Retrying": State.RETRYING,  # a new Ray cluster replaces a lost one
    "Complete": State.INTERRUPTED,  # ended without a report of the driver
    "Failed": State.FAILED,
    "ValidationFailed": State.FAILED,
}
"""KubeRay's jobDeploymentStatus of a run whose driver has not reported, or is gone."""
CAUSES_BY_REASON: dict[str, Cause] = {
    "DeadlineExceeded": Cause.TIMED_OUT,
    "PreRunningDeadlineExceeded": Cause.NO_CAPACITY,
    "SubmissionFailed": Cause.INFRASTRUCTURE,
    "AppFailed": Cause.INFRASTRUCTURE,  # the driver reports failures of the run; here the driver itself was lost
    "ValidationFailed": Cause.INTERNAL,
}
"""KubeRay's reasons of a failure."""
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
MOUNTED = frozenset({"Pulling", "Pulled", "Created", "Started"})
"""Events of a pod after its volumes were mounted."""
TRANSIENT_MOUNT = "failed to sync"
"""Part of the message about a Secret or ConfigMap that the kubelet has not read yet; it retries by itself."""
CURES: dict[str, str] = {
    "ImagePullBackOff": "see environment.image, and the cluster's pull secret",
    "ErrImagePull": "see environment.image, and the cluster's pull secret",
    "ErrImageNeverPull": "see environment.image",
    "InvalidImageName": "see environment.image",
    "CreateContainerConfigError": "ask the cluster's administrator for it",
    "FailedScheduling": "lower resources, or wait for capacity",
    "FailedMount": "ask the cluster's administrator for the volume",
    "FailedCreate": "ask the cluster's administrator for more quota, or lower resources",
}


def run_status(rayjob: dict[str, Any], report: RunStatus, has_report: bool) -> RunStatus:
    """Return the status of a run: its driver's report while there is a driver, otherwise KubeRay's state.

    Args:
        rayjob: the status of the RayJob.
        report: the last report of the driver.
        has_report: whether there is one.

    """
    deployment = str(rayjob.get("jobDeploymentStatus", ""))
    if report.state.final or report.state is State.PAUSED:
        return report
    state = STATES.get(deployment, State.UNKNOWN)
    if has_report and state is State.STARTING:
        return report
    if state is State.FAILED:
        cause = CAUSES_BY_REASON.get(str(rayjob.get("reason", "")), Cause.INFRASTRUCTURE)
        message = str(rayjob.get("message", "")).strip() or f"KubeRay reports {rayjob.get('reason', deployment)}"
        if message.startswith(PREFIX):
            cause, message = Cause.INTERNAL, f"its packages could not be installed: {setup_failure(message)}"
        code = CAUSES[cause].exit_code
        return replace(report, state=state, phase="", cause=cause, message=message, ended=now(), exit_code=code)
    if state is State.INTERRUPTED:
        return replace(report, state=state, phase="", message="its driver exited without a report", ended=now())
    installs = state is State.STARTING and rayjob.get("jobStatus") == "PENDING"
    return replace(report, state=state, phase="installing its packages" if installs else _phase(state), message="")


def pending_reason(pods: Iterable[Any], events: Sequence[Any], workload: Any = None) -> str:
    """Return why a run has not started, with the cure; empty if nothing blocks it.

    Args:
        pods: of the run.
        events: of the run and its objects.
        workload: Kueue's object of the run.

    """
    if reason := _queue_reason(workload):
        return reason
    scheduled = set()
    for pod in pods:
        for status in [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]:
            waiting = status.state.waiting if status.state else None
            if waiting and waiting.reason in CONTAINER_PROBLEMS:
                problem = CONTAINER_PROBLEMS[waiting.reason]
                detail = waiting.message or status.image
                return _with_cure(f"{pod.metadata.name}: {problem} ({detail})", waiting.reason)
        for condition in pod.status.conditions or []:
            if condition.type == "PodScheduled" and condition.status == "False":
                return _with_cure(f"{pod.metadata.name} cannot be scheduled: {condition.message}", "FailedScheduling")
            if condition.type == "PodScheduled":
                scheduled.add(pod.metadata.name)
    return _warning_reason(events, scheduled)


def _warning_reason(events: Sequence[Any], scheduled: set[str]) -> str:
    """Return the last warning that still applies: warnings stay among the events for an hour after they are solved."""
    mounted = {event.involved_object.name for event in events if event.reason in MOUNTED}
    solved = {"FailedScheduling": scheduled, "FailedMount": mounted}
    warnings = [
        event
        for event in events
        if event.type == "Warning"
        and event.reason in CURES
        and event.involved_object.name not in solved.get(event.reason, ())
        and not (event.reason == "FailedMount" and TRANSIENT_MOUNT in event.message)
    ]
    if not warnings:
        return ""
    last = max(warnings, key=lambda event: event.metadata.creation_timestamp)
    return _with_cure(f"{last.involved_object.name}: {last.message}", last.reason)


def _queue_reason(workload: Any) -> str:
    """Return what Kueue waits for; empty if it has admitted the run, or does not know it."""
    conditions = {each["type"]: each for each in (workload or {}).get("status", {}).get("conditions", [])}
    if conditions.get("Admitted", {}).get("status") == "True":
        return ""
    for kind in ("Evicted", "QuotaReserved"):
        condition = conditions.get(kind, {})
        if condition.get("message") and condition["status"] == ("True" if kind == "Evicted" else "False"):
            return f"in its queue: {condition['message']}"
    return ""


def _with_cure(problem: str, reason: str) -> str:
    cure = CURES.get(reason, "")
    return f"{problem}; {cure}" if cure else problem


def _phase(state: State) -> str:
    return {State.QUEUED: "waiting in its queue", State.PROVISIONING: "creating its pods"}.get(state, "starting Ray")
