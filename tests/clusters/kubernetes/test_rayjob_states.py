"""What KubeRay, the driver and the pods say, as one state and one reason."""

import re

import pytest

from stoker.clusters.kubernetes.rayjob_states import pending_limit, pending_reason, run_status
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


NO_INDEX = """runtime_env setup failed: Failed to set up runtime environment.
[Node 10.244.0.28] Traceback (most recent call last):
ray._private.runtime_env.utils.SubprocessCalledProcessError: Run cmd[9] failed with the following details.
    WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) after connection broken by \
'NewConnectionError('<pip._vendor.urllib3.connection.HTTPSConnection object at 0x7f851ce5a8d0>: Failed to establish a \
new connection: [Errno -2] Name or service not known')': /simple/einops/
    ERROR: Could not find a version that satisfies the requirement einops (from versions: none)
    ERROR: No matching distribution found for einops
"""


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (NO_INDEX, "its nodes cannot reach the Python package index (Name or service not known); name an image"),
        (NO_INDEX.replace("connection broken", "a while"), "No matching distribution found for einops"),
    ],
)
def test_package_installation_errors_are_shown_without_the_traceback(message, words):
    rayjob = {"jobDeploymentStatus": "Failed", "reason": "AppFailed", "message": message}
    status = run_status(rayjob, RunStatus(), has_report=False)
    assert status.cause is Cause.INTERNAL
    assert status.message.startswith(f"its packages could not be installed: {words}")
    assert "Traceback" not in status.message


def test_a_pending_job_shows_that_its_packages_are_being_installed():
    waiting = {"jobDeploymentStatus": "Running", "jobStatus": "PENDING"}
    assert run_status(waiting, RunStatus(), has_report=False).phase == "installing its packages"


def at(second):
    return f"2026-01-01T00:00:{second:02d}Z"


def pod(waiting=None, unscheduled=None, name="digits-head", made=0):
    state = {"waiting": {"reason": waiting, "message": "back-off"}} if waiting else {}
    condition = {"type": "PodScheduled", "status": "False" if unscheduled else "True", "message": unscheduled}
    status = {"containerStatuses": [{"state": state, "image": "stoker:1"}], "conditions": [condition]}
    return {"metadata": {"name": name, "creationTimestamp": at(made)}, "status": status}


def event(reason, message, second, kind="Warning"):
    metadata = {"creationTimestamp": at(second)}
    about = {"kind": "Pod", "name": "digits-worker"}
    return {"type": kind, "reason": reason, "message": message, "involvedObject": about, "metadata": metadata}


def test_nothing_in_the_way_is_no_reason():
    assert pending_reason([pod()], [event("Scheduled", "ok", 1, "Normal")]) == ""


def test_an_image_pull_failure_is_reported_with_the_setting_to_fix():
    told = pending_reason([pod("ImagePullBackOff")], [])
    assert told.startswith("digits-head: its image cannot be pulled (back-off)")
    assert "environment.image" in told


def test_an_unschedulable_pod_is_reported():
    told = pending_reason([pod(unscheduled="0/1 nodes are available: 1 Insufficient cpu.")], [])
    assert told == (
        "digits-head cannot be scheduled: 0/1 nodes are available: 1 Insufficient cpu.; "
        "lower resources, or wait for capacity"
    )


def test_what_was_said_of_a_pod_before_it_got_its_place_is_no_reason():
    said = [event("FailedScheduling", "0/1 nodes are available: 1 Insufficient cpu.", 1)]
    assert pending_reason([pod(name="digits-worker")], said) == ""
    assert pending_reason([pod()], said).startswith("digits-worker: 0/1 nodes are available")


def test_a_mount_that_has_passed_is_no_reason():
    failed = event("FailedMount", 'MountVolume.SetUp failed for volume "data"', 1)
    assert pending_reason([pod()], [failed]).startswith("digits-worker: MountVolume.SetUp failed")
    assert pending_reason([pod()], [failed, event("Pulling", "its image", 2, "Normal")]) == ""


def test_a_mount_that_passes_by_itself_hides_no_reason():
    passing = event("FailedMount", "failed to sync secret cache: timed out waiting for the condition", 2)
    assert pending_reason([pod()], [passing]) == ""
    missing = event("FailedMount", 'secret "mine" not found', 1)
    told = 'digits-worker: secret "mine" not found; ask the cluster\'s administrator for the volume'
    assert pending_reason([pod()], [missing, passing]) == told


def kueue(**conditions):
    return {
        "status": {
            "conditions": [
                {"type": kind, "status": status, "message": message} for kind, (status, message) in conditions.items()
            ]
        }
    }


def test_a_queued_run_shows_the_reason_from_kueue():
    waiting = kueue(QuotaReserved=("False", "insufficient unused quota for cpu in flavor default, 2 more needed"))
    assert pending_reason([], [], waiting).startswith("in its queue: insufficient unused quota for cpu")
    preempted = kueue(Evicted=("True", "Preempted to accommodate a workload"), QuotaReserved=("False", "no quota"))
    assert pending_reason([], [], preempted) == "in its queue: Preempted to accommodate a workload"
    admitted = kueue(Admitted=("True", "yes"), QuotaReserved=("True", "yes"), Evicted=("True", "once"))
    assert pending_reason([pod("ImagePullBackOff")], [], admitted).startswith("digits-head: its image cannot be pulled")


def test_the_latest_relevant_event_is_reported():
    events = [event("FailedMount", "no secret", 1), event("FailedCreate", "exceeded quota", 2), event("Odd", "x", 3)]
    assert pending_reason([], events).startswith("digits-worker: exceeded quota")


@pytest.mark.parametrize("reason", ["FailedCreate", "FailedToCreateHeadPod", "FailedToCreateWorkerPod"])
def test_a_quota_that_refuses_a_pod_is_the_reason_until_there_is_a_later_pod(reason):
    refused = event(reason, "pods is forbidden: exceeded quota: gpus", 5)
    assert pending_reason([pod()], [refused]) == (
        "digits-worker: pods is forbidden: exceeded quota: gpus; "
        "ask the cluster's administrator for more quota, or lower resources"
    )
    assert pending_reason([pod(made=6)], [refused]) == ""


def test_a_run_says_when_it_gives_back_the_pods_that_it_has():
    spec = {"preRunningDeadlineSeconds": 900, "backoffLimit": 1}
    waiting = {"jobDeploymentStatus": "Initializing", "startTime": at(0)}
    first, last = {"spec": spec, "status": waiting}, {"spec": spec, "status": {**waiting, "failed": 1}}
    told = re.sub(r"\d\d:\d\d:00", "TIME", pending_limit(first))
    assert (
        told == "if not all of its pods are there at TIME, it gives its pods back and asks for them again (try 1 of 2)"
    )
    assert pending_limit(last).endswith("it fails (try 2 of 2)")
    assert pending_limit({"spec": {}, "status": waiting}) == ""
    assert pending_limit({"spec": spec, "status": {**waiting, "jobDeploymentStatus": "Running"}}) == ""
