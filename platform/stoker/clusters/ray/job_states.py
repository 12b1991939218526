"""From the state of a Ray job to the status of its run."""

import json
from dataclasses import replace
from typing import Any

from stoker.errors import CAUSES, Cause
from stoker.execution.contract import PROGRESS, STATUS
from stoker.execution.packages import installation_failure
from stoker.tracking.run import Progress, RunStatus, State, known_fields, now, status_from

STATES: dict[str, State] = {
    "PENDING": State.PROVISIONING,  # its files and packages are being set up on the head node
    "RUNNING": State.STARTING,  # its driver has started and not reported yet
    "STOPPED": State.INTERRUPTED,  # ended with Ray's own tools
    "SUCCEEDED": State.INTERRUPTED,  # the driver exited without a report
    "FAILED": State.FAILED,
}
"""Ray's state of a job whose driver has not reported."""
PHASES: dict[State, str] = {
    State.PROVISIONING: "setting up its files and packages",
    State.STARTING: "starting its driver",
}
ERRORS: dict[str, tuple[Cause, str]] = {
    "RUNTIME_ENV_SETUP_FAILURE": (Cause.INTERNAL, "its files or packages could not be set up"),
    "JOB_SUPERVISOR_ACTOR_START_TIMEOUT": (Cause.NO_CAPACITY, "the head node had no capacity for its driver"),
    "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE": (Cause.NO_CAPACITY, "the head node had no capacity for its driver"),
    "JOB_SUPERVISOR_ACTOR_START_FAILURE": (Cause.INFRASTRUCTURE, "Ray could not start its driver"),
    "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE": (Cause.INFRASTRUCTURE, "Ray lost its driver"),
    "JOB_SUPERVISOR_ACTOR_DIED": (Cause.INFRASTRUCTURE, "Ray lost its driver"),
    "JOB_ENTRYPOINT_COMMAND_START_ERROR": (Cause.INFRASTRUCTURE, "Ray could not start its driver"),
    "JOB_ENTRYPOINT_COMMAND_ERROR": (Cause.INFRASTRUCTURE, "its driver exited before it could report"),
}
"""Ray's error types of a job whose driver has not reported; a driver reports other failures itself."""
RUNTIME_ENV_FAILED = "runtime_env setup failed"
"""Start of Ray's message about packages that could not be installed; the rest is a traceback."""
NO_STOKER = "No module named stoker"


def has_report(job: dict[str, Any]) -> bool:
    """Return whether the driver of a job has reported a status."""
    return STATUS in (job.get("metadata") or {})


def reported_progress(job: dict[str, Any]) -> Progress | None:
    """Return the progress that the driver has reported; None if it has not."""
    text = (job.get("metadata") or {}).get(PROGRESS)
    return Progress(**known_fields(Progress, json.loads(text))) if text else None


def run_status(job: dict[str, Any] | None, previous: RunStatus) -> RunStatus:
    """Return the status of a run: the driver's report while there is a driver, otherwise Ray's state.

    Args:
        job: the Ray job; None if Ray does not know it.
        previous: the status so far.

    """
    if job is None:
        message = "Ray does not know its job: the head node was restarted, or never received it"
        return (
            previous
            if previous.state.ended
            else replace(previous, state=State.INTERRUPTED, message=message, ended=now())
        )
    state = STATES.get(str(job.get("status")), State.UNKNOWN)
    if has_report(job):
        report = status_from(json.loads(job["metadata"][STATUS]))
        if state is State.STARTING and report.state.ended:  # it has reported the end, and stops its processes
            return replace(report, state=previous.state, phase="ending its processes", ended=0.0, exit_code=0)
        if state is State.STARTING or report.state.final or report.state is State.PAUSED:
            return report
        message = report.message or "its driver is gone"
        return replace(report, state=State.INTERRUPTED, phase="", cause="", message=message, ended=_end_time(job))
    if state is State.FAILED:
        cause, what = ERRORS.get(str(job.get("error_type")), (Cause.INFRASTRUCTURE, "Ray could not run it"))
        message, code = f"{what}: {_reason(job)}", CAUSES[cause].exit_code
        failed = replace(previous, state=state, phase="", cause=cause, message=message, exit_code=code)
        return replace(failed, ended=_end_time(job))
    if state is State.INTERRUPTED:
        message = "its driver exited without a report"
        return replace(previous, state=state, phase="", message=message, ended=_end_time(job))
    return replace(previous, state=state, phase=PHASES.get(state, ""), message="")


def _end_time(job: dict[str, Any]) -> float:
    return float(job.get("end_time") or 0) / 1000 or now()


def _reason(job: dict[str, Any]) -> str:
    """Return the reason in Ray's message, which ends with the log or a traceback."""
    message = str(job.get("message") or "")
    if message.startswith(RUNTIME_ENV_FAILED):
        return installation_failure(message)
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    last = lines[-1] if lines else "no reason is given"
    return f"{last}; the cluster's image must contain this version of Stoker" if NO_STOKER in last else last
