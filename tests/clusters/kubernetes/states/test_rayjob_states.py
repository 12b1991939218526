"""What KubeRay and the driver say, as one state."""

import re

import pytest

from stoker.clusters.kubernetes.states.rayjob_states import pending_limit, run_status
from stoker.errors import Cause
from stoker.tracking.run import RunStatus, State

RUNNING = RunStatus(State.RUNNING, attempt=2, checkpoint_step=40)


@pytest.mark.parametrize(
    ("deployment", "state"),
    [
        ("", State.PROVISIONING),
        ("Initializing", State.PROVISIONING),
        ("Running", State.STARTING),
        ("Suspended", State.QUEUED),
        ("Retrying", State.RETRYING),
        ("Complete", State.INTERRUPTED),
        ("Failed", State.FAILED),
        ("Singing", State.UNKNOWN),
    ],
)
def test_without_a_driver_report_the_state_comes_from_kuberay(deployment, state):
    assert run_status({"jobDeploymentStatus": deployment}, RunStatus(), has_report=False).state is state


def test_the_drivers_report_is_used_while_the_job_runs():
    assert run_status({"jobDeploymentStatus": "Running"}, RUNNING, has_report=True) is RUNNING


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.CANCELLED, State.PAUSED])
@pytest.mark.parametrize("deployment", ["Complete", "Failed", "Retrying", "Running", ""])
def test_a_drivers_last_word_stays(state, deployment):
    said = RunStatus(state)
    assert run_status({"jobDeploymentStatus": deployment}, said, has_report=True) is said


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("DeadlineExceeded", Cause.TIMED_OUT),
        ("PreRunningDeadlineExceeded", Cause.NO_CAPACITY),
        ("SubmissionFailed", Cause.INFRASTRUCTURE),
        ("", Cause.INFRASTRUCTURE),
    ],
)
def test_a_driver_that_was_lost_leaves_the_word_to_kuberay(reason, cause):
    status = run_status(
        {"jobDeploymentStatus": "Failed", "reason": reason, "message": "so it is"}, RUNNING, has_report=True
    )
    assert (status.state, status.cause, status.message) == (State.FAILED, cause, "so it is")
    assert (status.attempt, status.checkpoint_step, status.exit_code) == (2, 40, 1)


def test_a_run_says_when_it_gives_back_the_pods_that_it_has():
    spec = {"preRunningDeadlineSeconds": 900, "backoffLimit": 1}
    waiting = {"jobDeploymentStatus": "Initializing", "startTime": "2026-01-01T00:00:00Z"}
    first, last = {"spec": spec, "status": waiting}, {"spec": spec, "status": {**waiting, "failed": 1}}
    told = re.sub(r"\d\d:\d\d:00", "TIME", pending_limit(first))
    assert (
        told == "if not all of its pods are there at TIME, it gives its pods back and asks for them again (try 1 of 2)"
    )
    assert pending_limit(last).endswith("it fails (try 2 of 2)")
    assert pending_limit({"spec": {}, "status": waiting}) == ""
    assert pending_limit({"spec": spec, "status": {**waiting, "jobDeploymentStatus": "Running"}}) == ""
