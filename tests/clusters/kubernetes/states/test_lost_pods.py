"""What a run has lost of its pods, as its client sees it."""

import json
from datetime import UTC, datetime

import pytest

from stoker.clusters.kubernetes.states.lost_pods import driver_is_lost, lost_pods
from stoker.clusters.kubernetes.states.rayjob_states import clock

BEGAN = 1.8e9
"""When the attempt began."""
NOW = BEGAN + 60


def at(seconds):
    """A time of Kubernetes, so many seconds after the attempt began."""
    return datetime.fromtimestamp(BEGAN + seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod(kind, name, made=-30, state=None, deleted=False, **status):
    state = {"running": {"startedAt": at(made + 5)}} if state is None else state
    sidecar = {"name": "proxy", "state": {"running": {"startedAt": at(50)}}}  # it has started again
    containers = [{"name": f"ray-{kind}", "state": state}, sidecar]
    metadata = {"name": f"digits-abcde-{name}", "labels": {"ray.io/node-type": kind}, "creationTimestamp": at(made)}
    if deleted:
        metadata["deletionTimestamp"] = at(20)
    return {"metadata": metadata, "status": {"phase": "Running", "containerStatuses": containers, **status}}


HEAD = pod("head", "head")
WORKERS = [pod("worker", "worker-a"), pod("worker", "worker-b")]
STARTING = {"waiting": {"reason": "ContainerCreating"}}


@pytest.fixture
def rayjob():
    report = json.dumps({"state": "RUNNING", "pod": "digits-abcde-head", "since": BEGAN - 5})
    metadata = {"name": "digits", "annotations": {"stoker.dev/status": report}}
    return {"metadata": metadata, "spec": {"rayClusterSpec": {"workerGroupSpecs": [{"minReplicas": 2}]}}}


def test_a_run_with_all_of_its_pods_has_lost_nothing(rayjob):
    assert lost_pods(rayjob, [HEAD, *WORKERS], BEGAN, NOW) is None
    assert not driver_is_lost(rayjob, [HEAD, *WORKERS])


@pytest.mark.parametrize(
    ("replacement", "words"),
    [
        ([], "lost 1 of 2 worker pods; waiting for a new worker pod; then it resumes"),
        (
            [pod("worker", "worker-c", 10, STARTING)],
            f"lost 1 of 2 worker pods at {clock(BEGAN + 10)}; waiting for a new worker pod (worker-c); then it resumes",
        ),
        (
            [pod("worker", "worker-a", state={"terminated": {"reason": "OOMKilled"}}, phase="Failed")],
            "lost 1 of 2 worker pods (OOMKilled); waiting for a new worker pod; then it resumes",
        ),
        (
            [pod("worker", "worker-a", deleted=True)],
            "lost 1 of 2 worker pods (deleted); waiting for a new worker pod; then it resumes",
        ),
        (
            [pod("worker", "worker-c", 10)],  # it runs, but the driver still works with the old one
            f"lost 1 of 2 worker pods at {clock(BEGAN + 15)}; waiting for a new worker pod (worker-c); then it resumes",
        ),
    ],
)
def test_a_lost_worker_is_shown_with_its_reason_and_its_replacement(rayjob, replacement, words):
    loss = lost_pods(rayjob, [HEAD, WORKERS[1], *replacement], BEGAN, NOW)
    assert loss is not None
    assert not loss.driver
    assert loss.text("", "then it resumes") == words


def test_the_reason_why_a_replacement_does_not_start_is_shown(rayjob):
    loss = lost_pods(rayjob, [HEAD, WORKERS[0]], BEGAN, NOW)
    assert loss is not None
    assert "waiting for a new worker pod: Insufficient cpu; then" in loss.text("Insufficient cpu", "then")


@pytest.mark.parametrize(
    "heads",
    [
        [],
        [pod("head", "head-2", 10)],
        [pod("head", "head", 10)],  # the same pod, whose container has started again
        [pod("head", "head", state=STARTING)],
        [pod("head", "head", deleted=True)],
    ],
)
def test_a_driver_whose_pod_is_gone_or_has_started_again_is_lost(rayjob, heads):
    assert driver_is_lost(rayjob, [*heads, *WORKERS])
    loss = lost_pods(rayjob, [*heads, *WORKERS], BEGAN, NOW)
    assert loss is not None
    assert loss.driver
    assert "its head" in loss.text("", "then")


def test_a_run_without_a_report_of_this_kind_is_not_said_to_have_lost_its_driver(rayjob):
    rayjob["metadata"]["annotations"] = {}
    assert not driver_is_lost(rayjob, [])


def test_the_workers_of_a_sweep_count_whenever_they_have_come(rayjob):
    assert lost_pods(rayjob, [HEAD, WORKERS[0], pod("worker", "worker-c", 10)], 0.0, NOW) is None


def test_a_pod_is_new_for_as_long_as_a_driver_may_need_to_notice_the_loss(rayjob):
    pods = [HEAD, WORKERS[0], pod("worker", "worker-c", 10)]
    assert lost_pods(rayjob, pods, BEGAN, BEGAN + 100) is not None
    assert lost_pods(rayjob, pods, BEGAN, BEGAN + 15 + 120) is None
