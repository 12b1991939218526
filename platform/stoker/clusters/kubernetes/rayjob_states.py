"""From the state of a RayJob and its pods to the status of its run, and to the reason why it waits."""

import time
from collections.abc import Sequence
from dataclasses import replace

from stoker.clusters.kubernetes.events import event_time
from stoker.clusters.kubernetes.metadata import Manifest, seconds
from stoker.errors import CAUSES, Cause
from stoker.execution.contract import PACKAGES, UNINSTALLED
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
    "PreRunningDeadlineExceeded": Cause.NO_CAPACITY,  # of the last round; see `pods_deadline_s`
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


def run_status(rayjob: Manifest, report: RunStatus, has_report: bool) -> RunStatus:
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
        code = CAUSES[cause].exit_code
        return replace(report, state=state, phase="", cause=cause, message=message, ended=now(), exit_code=code)
    if state is State.INTERRUPTED:
        return replace(report, state=state, phase="", message="its driver exited without a report", ended=now())
    return replace(report, state=state, phase=_phase(state), message="")


def pending_reason(pods: Sequence[Manifest], events: Sequence[Manifest], workload: Manifest | None = None) -> str:
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
        name, status = pod["metadata"]["name"], pod["status"]
        for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
            end = container.get("state", {}).get("terminated", {})
            if container.get("name") == PACKAGES and end.get("message"):
                return f"{UNINSTALLED}: {end['message']}"
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
    return _warning_reason(pods, events, scheduled)


def is_for_want_of_room(reason: str) -> bool:
    """Return whether pods wait for resources, according to `pending_reason`."""
    return reason.endswith((CURES["FailedScheduling"], QUOTA_CURE))


def pending_limit(rayjob: Manifest) -> str:
    """Return when a run that waits for its pods gives back those that it has; empty if it does not."""
    status, limit_s = rayjob.get("status", {}), rayjob["spec"].get("preRunningDeadlineSeconds")
    if not limit_s or status.get("jobDeploymentStatus") != "Initializing" or "startTime" not in status:
        return ""
    at, tries = seconds(status["startTime"]) + limit_s, status.get("failed", 0) + 1
    rounds = rayjob["spec"].get("backoffLimit", 0) + 1
    what = "gives its pods back and asks for them again" if tries < rounds else "fails"
    return f"if not all of its pods are there at {clock(at)}, it {what} (try {tries} of {rounds})"


def clock(time_s: float) -> str:
    """Return the time of day, on this machine's clock."""
    return time.strftime("%H:%M:%S", time.localtime(time_s))


def _warning_reason(pods: Sequence[Manifest], events: Sequence[Manifest], scheduled: set[str]) -> str:
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
        return ""
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


def _with_cure(problem: str, reason: str) -> str:
    cure = CURES.get(reason, "")
    return f"{problem}; {cure}" if cure else problem


def _phase(state: State) -> str:
    return {State.QUEUED: "waiting in its queue", State.PROVISIONING: "creating its pods"}.get(state, "starting Ray")
