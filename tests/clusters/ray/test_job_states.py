"""What the Jobs API and the driver say, as one state and one reason."""

import json
from dataclasses import asdict

import pytest

from stoker.clusters.ray.job_states import reported_progress, run_status
from stoker.errors import Cause
from stoker.execution.contract import PROGRESS, STATUS
from stoker.tracking.run import Progress, RunStatus, State

BEGUN = RunStatus(State.STARTING, reopened="beef", attempt=1)
RUNNING = RunStatus(State.RUNNING, phase="", attempt=2, checkpoint_step=40, reopened="beef")


def job(status, said=None, **more):
    metadata = {STATUS: json.dumps(asdict(said))} if said else {"stoker.dev/run": "a-1"}
    return {"status": status, "metadata": metadata, "end_time": 5000, **more}


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("PENDING", State.PROVISIONING),
        ("RUNNING", State.STARTING),
        ("STOPPED", State.INTERRUPTED),
        ("SUCCEEDED", State.INTERRUPTED),
        ("FAILED", State.FAILED),
        ("DANCING", State.UNKNOWN),
    ],
)
def test_without_a_driver_report_the_state_comes_from_ray(status, state):
    derived = run_status(job(status), BEGUN)
    assert (derived.state, derived.reopened, derived.attempt) == (state, "beef", 1)


def test_the_drivers_report_is_used_while_the_job_runs():
    assert run_status(job("RUNNING", RUNNING), BEGUN) == RUNNING


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.CANCELLED, State.PAUSED])
@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "STOPPED"])
def test_a_drivers_last_word_stays(state, status):
    said = RunStatus(state, message="so it is")
    assert run_status(job(status, said), RUNNING) == said


def test_a_run_has_not_ended_before_its_driver_is_gone():
    derived = run_status(job("RUNNING", RunStatus(State.PAUSED)), RUNNING)
    assert (derived.state, derived.phase) == (State.RUNNING, "ending its processes")


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "STOPPED"])
@pytest.mark.parametrize("message", ["", "its driver received SIGTERM"])
def test_a_driver_that_is_gone_leaves_the_run_where_it_was(status, message):
    said = RunStatus(State.RETRYING, cause="HANG", message=message, checkpoint_step=40)
    derived = run_status(job(status, said), RUNNING)
    assert derived == RunStatus(
        State.INTERRUPTED, phase="", message=message or "its driver is gone", ended=5.0, checkpoint_step=40
    )


def test_a_run_unknown_to_ray_is_interrupted_unless_it_had_ended():
    assert run_status(None, RUNNING).state is State.INTERRUPTED
    rested = RunStatus(State.PAUSED)
    assert run_status(None, rested) is rested


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("RUNTIME_ENV_SETUP_FAILURE", Cause.INTERNAL),
        ("JOB_SUPERVISOR_ACTOR_START_TIMEOUT", Cause.NO_CAPACITY),
        ("JOB_SUPERVISOR_ACTOR_DIED", Cause.INFRASTRUCTURE),
        ("JOB_ENTRYPOINT_COMMAND_ERROR", Cause.INFRASTRUCTURE),
        (None, Cause.INFRASTRUCTURE),
    ],
)
def test_a_driver_that_never_spoke_leaves_the_word_to_ray(kind, cause):
    derived = run_status(job("FAILED", error_type=kind, message="a\n  the last line\n\n"), BEGUN)
    assert (derived.state, derived.cause, derived.ended, derived.exit_code) == (State.FAILED, cause, 5.0, 1)
    assert derived.message.endswith(": the last line")


def test_a_cluster_image_without_stoker_is_reported():
    message = "failed with exit code 1\n/usr/bin/python: No module named stoker\n"
    derived = run_status(job("FAILED", error_type="JOB_ENTRYPOINT_COMMAND_ERROR", message=message), BEGUN)
    assert derived.message.endswith("No module named stoker; the cluster's image must contain this version of Stoker")


def test_package_installation_errors_show_pips_message():
    message = "runtime_env setup failed\n  ERROR: No matching distribution found for einops\n  [notice] new pip\n"
    derived = run_status(job("FAILED", error_type="RUNTIME_ENV_SETUP_FAILURE", message=message), BEGUN)
    assert derived.message.endswith("could not be set up: No matching distribution found for einops")


def test_progress_is_read_from_the_drivers_report():
    said = Progress("training", epoch=2, epochs=3)
    assert reported_progress({"metadata": {PROGRESS: json.dumps({**asdict(said), "of_a_newer_version": 1})}}) == said
    assert reported_progress({"metadata": None}) is None
