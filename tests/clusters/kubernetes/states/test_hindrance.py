"""Why a run waits: its pods, their events and its queue, as one reason."""

import pytest

from stoker.clusters.kubernetes.states.hindrance import hindrance


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
    assert hindrance([pod()], [event("Scheduled", "ok", 1, "Normal")]).text == ""


def test_an_image_pull_failure_is_reported_with_the_setting_to_fix():
    told = hindrance([pod("ImagePullBackOff")], []).text
    assert told.startswith("digits-head: its image cannot be pulled (back-off)")
    assert "environment.image" in told


def test_an_unschedulable_pod_is_reported():
    told = hindrance([pod(unscheduled="0/1 nodes are available: 1 Insufficient cpu.")], []).text
    assert told == (
        "digits-head cannot be scheduled: 0/1 nodes are available: 1 Insufficient cpu.; "
        "lower resources, or wait for capacity"
    )


def test_what_was_said_of_a_pod_before_it_got_its_place_is_no_reason():
    said = [event("FailedScheduling", "0/1 nodes are available: 1 Insufficient cpu.", 1)]
    assert hindrance([pod(name="digits-worker")], said).text == ""
    assert hindrance([pod()], said).text.startswith("digits-worker: 0/1 nodes are available")


def test_a_mount_that_has_passed_is_no_reason():
    failed = event("FailedMount", 'MountVolume.SetUp failed for volume "data"', 1)
    assert hindrance([pod()], [failed]).text.startswith("digits-worker: MountVolume.SetUp failed")
    assert hindrance([pod()], [failed, event("Pulling", "its image", 2, "Normal")]).text == ""


def test_a_mount_that_passes_by_itself_hides_no_reason():
    passing = event("FailedMount", "failed to sync secret cache: timed out waiting for the condition", 2)
    assert hindrance([pod()], [passing]).text == ""
    missing = event("FailedMount", 'secret "mine" not found', 1)
    told = 'digits-worker: secret "mine" not found; ask the cluster\'s administrator for the volume'
    assert hindrance([pod()], [missing, passing]).text == told


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
    assert hindrance([], [], waiting).text.startswith("in its queue: insufficient unused quota for cpu")
    preempted = kueue(Evicted=("True", "Preempted to accommodate a workload"), QuotaReserved=("False", "no quota"))
    assert hindrance([], [], preempted).text == "in its queue: Preempted to accommodate a workload"
    admitted = kueue(Admitted=("True", "yes"), QuotaReserved=("True", "yes"), Evicted=("True", "once"))
    assert hindrance([pod("ImagePullBackOff")], [], admitted).text.startswith("digits-head: its image cannot be pulled")


def test_the_latest_relevant_event_is_reported():
    events = [event("FailedMount", "no secret", 1), event("FailedCreate", "exceeded quota", 2), event("Odd", "x", 3)]
    assert hindrance([], events).text.startswith("digits-worker: exceeded quota")


@pytest.mark.parametrize("reason", ["FailedCreate", "FailedToCreateHeadPod", "FailedToCreateWorkerPod"])
def test_a_quota_that_refuses_a_pod_is_the_reason_until_there_is_a_later_pod(reason):
    refused = event(reason, "pods is forbidden: exceeded quota: gpus", 5)
    assert hindrance([pod()], [refused]).text == (
        "digits-worker: pods is forbidden: exceeded quota: gpus; "
        "ask the cluster's administrator for more quota, or lower resources"
    )
    assert hindrance([pod(made=6)], [refused]).text == ""


def test_packages_that_could_not_be_installed_are_the_reason_while_ray_starts():
    done = {"name": "packages", "image": "stoker:1", "state": {"terminated": {"message": "no such package"}}}
    waiting = pod()
    waiting["status"]["initContainerStatuses"] = [done]
    assert hindrance([waiting], []).text == "its packages could not be installed: no such package"
    done["state"]["terminated"] = {"exitCode": 0}
    assert hindrance([waiting], []).text == ""


@pytest.mark.parametrize(
    ("pods", "events", "for_room"),
    [
        ([pod(unscheduled="0/1 nodes are available: 1 Insufficient cpu.")], [], True),
        ([], [event("FailedToCreateWorkerPod", "pods is forbidden: exceeded quota: gpus", 5)], True),
        ([pod("ImagePullBackOff")], [], False),
        ([pod()], [event("FailedMount", 'secret "mine" not found', 1)], False),
        ([pod()], [], False),
    ],
)
def test_only_a_run_that_lacks_room_may_gain_by_waiting(pods, events, for_room):
    assert hindrance(pods, events).for_room is for_room
