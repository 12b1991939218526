"""What the Jobs API of a standing Ray says of a run's job, in our states and words."""

import json
from dataclasses import replace
from typing import Any

from stoker.clusters.runtime_env_failure import SETUP, setup_failure
from stoker.errors import CAUSES, Cause
from stoker.execution.contract import PROGRESS, STATUS
from stoker.tracking.run import Progress, RunStatus, State, known, now, status_from

JOB: dict[str, State] = {
    "PENDING": State.PROVISIONING,  # its files and packages are being laid out on the head
    "RUNNING": State.STARTING,  # its driver has begun and not spoken yet
    "STOPPED": State.INTERRUPTED,  # somebody has ended it with Ray's own tools
    "SUCCEEDED": State.INTERRUPTED,  # over, and the driver has not said how
    "FAILED": State.FAILED,
}
"""Ray's states of a job, where the driver has not spoken."""
PHASES: dict[State, str] = {State.PROVISIONING: "getting its files and packages", State.STARTING: "starting its driver"}
ERRORS: dict[str, tuple[Cause, str]] = {
    "RUNTIME_ENV_SETUP_FAILURE": (Cause.INTERNAL, "its files or packages could not be laid out"),
    "JOB_SUPERVISOR_ACTOR_START_TIMEOUT": (Cause.NO_CAPACITY, "the head had no room for its driver"),
    "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE": (Cause.NO_CAPACITY, "the head had no room for its driver"),
    "JOB_SUPERVISOR_ACTOR_START_FAILURE": (Cause.INFRASTRUCTURE, "Ray could not start its driver"),
    "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE": (Cause.INFRASTRUCTURE, "Ray lost its driver"),
    "JOB_SUPERVISOR_ACTOR_DIED": (Cause.INFRASTRUCTURE, "Ray lost its driver"),
    "JOB_ENTRYPOINT_COMMAND_START_ERROR": (Cause.INFRASTRUCTURE, "Ray could not start its driver"),
    "JOB_ENTRYPOINT_COMMAND_ERROR": (Cause.INFRASTRUCTURE, "its driver ended before it had begun"),
}
"""Ray's kinds of failure, for a driver that has not spoken: what fails in a run, its driver tells."""
NO_STOKER = "No module named stoker"


def spoke(job: dict[str, Any]) -> bool:
    """Tell whether the driver of a job has said anything yet."""
    return STATUS in (job.get("metadata") or {})


def progress_of(job: dict[str, Any]) -> Progress | None:
    """Read how far training is; None where the driver has not said so."""
    text = (job.get("metadata") or {}).get(PROGRESS)
    return Progress(**known(Progress, json.loads(text))) if text else None


def run_status(job: dict[str, Any] | None, came: RunStatus) -> RunStatus:
    """Derive a run's status: its driver's word as long as there is a driver, else Ray's.

    Args:
        job: what Ray says of it; None where it does not know it.
        came: the status so far.

    """
    if job is None:
        message = "Ray does not know its job: the head has been started anew, or never got it"
        return came if came.state.ended else replace(came, state=State.INTERRUPTED, message=message, ended=now())
    state = JOB.get(str(job.get("status")), State.UNKNOWN)
    if spoke(job):
        said = status_from(json.loads(job["metadata"][STATUS]))
        if state is State.STARTING and said.state.ended:  # it has said its last word, and ends its processes
            return replace(said, state=came.state, phase="ending its processes", ended=0.0, exit_code=0)
        if state is State.STARTING or said.state.final or said.state is State.PAUSED:
            return said
        message = said.message or "its driver is gone"
        return replace(said, state=State.INTERRUPTED, phase="", cause="", message=message, ended=_ended(job))
    if state is State.FAILED:
        cause, what = ERRORS.get(str(job.get("error_type")), (Cause.INFRASTRUCTURE, "Ray could not run it"))
        message, code = f"{what}: {_why(job)}", CAUSES[cause].exit_code
        failed = replace(came, state=state, phase="", cause=cause, message=message, exit_code=code)
        return replace(failed, ended=_ended(job))
    if state is State.INTERRUPTED:
        message = "its driver ended without a word"
        return replace(came, state=state, phase="", message=message, ended=_ended(job))
    return replace(came, state=state, phase=PHASES.get(state, ""), message="")


def _ended(job: dict[str, Any]) -> float:
    return float(job.get("end_time") or 0) / 1000 or now()


def _why(job: dict[str, Any]) -> str:
    """Take what a failure comes down to out of Ray's message, which ends with the log or a traceback."""
    message = str(job.get("message") or "")
    if message.startswith(SETUP):
        return setup_failure(message)
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    last = lines[-1] if lines else "no reason is given"
    return f"{last}; the cluster's image must hold this version of Stoker" if NO_STOKER in last else last
