"""From the state of a RayJob to the status of its run."""

import time
from dataclasses import replace

from stoker.clusters.kubernetes.metadata import Manifest, seconds
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
    "PreRunningDeadlineExceeded": Cause.NO_CAPACITY,  # of the last round; see `pods_deadline_s`
    "SubmissionFailed": Cause.INFRASTRUCTURE,
    "AppFailed": Cause.INFRASTRUCTURE,  # the driver reports failures of the run; here the driver itself was lost
    "ValidationFailed": Cause.INTERNAL,
}
"""KubeRay's reasons of a failure."""


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


def _phase(state: State) -> str:
    return {State.QUEUED: "waiting in its queue", State.PROVISIONING: "creating its pods"}.get(state, "starting Ray")
