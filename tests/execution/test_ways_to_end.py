"""The ways in which a run ends before it is finished."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from stoker.tracking.journal import read_journal
from stoker.tracking.run import State

LONG = """
name: long
task: tabular-classification
dataset: iris
training: {epochs: 1000000, precision: fp32}
"""


def test_interrupting_the_submitter_detaches_and_cancel_ends_the_run_as_cancelled_everywhere(home, job_file, until):
    client = subprocess.Popen(
        [sys.executable, "-P", "-m", "stoker.cli.main", "submit", job_file(LONG)],
        env=home.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    until(lambda: any(home.path.glob("runs/long-*/journal.jsonl")), "the run")
    client.send_signal(signal.SIGINT)
    printed, _ = client.communicate(timeout=30)
    assert client.returncode == 0
    run = home.run(next(home.path.glob("runs/long-*")).name)
    assert f"detached; the run continues. stoker logs -f {run.path.name}" in printed
    assert run.record().state is State.RUNNING

    home.stoker("cancel", "long")
    until(lambda: run.record().state.ended, "the end")
    status = run.record().status
    assert (status.state, status.exit_code) == (State.CANCELLED, 1)
    store = MlflowClient(f"sqlite:///{home.path / 'mlflow.db'}")
    assert store.get_run(status.mlflow_run).info.status == "KILLED"
    until(lambda: not run.has_driver(), "the driver to go")
    assert not (run.path / "ray_session").exists()


def test_a_pause_and_a_killed_driver_leave_what_the_next_attempt_starts_from(home, job_file, until):
    run = home.run(home.json("submit", job_file(LONG), "--detach")["id"])
    run_id = run.path.name
    until(lambda: run.status().checkpoint_step > 0, "a checkpoint")
    home.stoker("pause", run_id, "--wait")
    paused = run.record().status
    assert (paused.state, paused.exit_code, paused.attempt) == (State.PAUSED, 0, 1)
    client = MlflowClient(f"sqlite:///{home.path / 'mlflow.db'}")
    page = client.get_run(paused.mlflow_run)
    assert (page.info.status, page.data.tags["stoker.state"]) == ("SCHEDULED", "PAUSED")

    home.stoker("resume", run_id, "--detach")
    until(lambda: run.progress().step > paused.checkpoint_step, "the first new step")
    assert run.record().status.attempt == 2
    until(lambda: client.get_run(paused.mlflow_run).info.status == "RUNNING", "the page to go on")
    session = (run.path / "ray_session").read_text()
    os.kill(run.driver_pid(), signal.SIGKILL)
    until(lambda: not run.has_driver(), "the lease to end")
    assert run.record().state is State.INTERRUPTED
    assert "RUNNING" not in home.stoker("ls")
    home.stoker("submit", job_file(LONG.replace("1000000", "2")))  # it removes what the killed one left
    assert not Path(session).exists()
    left = [p.pid for p in psutil.process_iter() if any(session in part for part in _command(p))]
    assert left == []

    home.stoker("cancel", run_id, "--wait")
    cancelled = run.record().status
    assert (cancelled.state, cancelled.attempt) == (State.CANCELLED, 2)
    page = client.get_run(cancelled.mlflow_run)
    assert cancelled.mlflow_run == paused.mlflow_run
    assert (page.info.status, page.data.tags["stoker.attempts"]) == ("KILLED", "2")
    steps = [entry.step for entry, _ in read_journal(run.journal) if "loss/step" in entry.metrics]
    assert steps == sorted(set(steps))


@pytest.mark.slow
def test_a_driver_that_receives_sigterm_leaves_a_checkpoint(home, job_file, until):
    run = home.run(home.json("submit", job_file(LONG), "--detach")["id"])
    until(lambda: run.status().checkpoint_step > 0, "a checkpoint")
    before = run.progress().step
    driver = psutil.Process(run.driver_pid())
    driver.send_signal(signal.SIGTERM)
    assert driver.wait(60) in (143, None)  # None: not our child
    interrupted = run.record().status
    assert interrupted.state is State.INTERRUPTED
    assert "its driver received SIGTERM" in interrupted.message
    assert interrupted.checkpoint_step >= before
    home.stoker("resume", run.path.name, "--detach")
    until(lambda: run.progress().step > interrupted.checkpoint_step, "the first new step")
    home.stoker("cancel", run.path.name, "--wait")


@pytest.mark.slow
def test_a_timed_out_run_fails_with_a_checkpoint(home, job_file):
    home.stoker("submit", job_file(LONG), "--set", "resources.timeout=12 s", succeeds=False)
    (run,) = (home.run(path.name) for path in home.path.glob("runs/*"))
    status = run.record().status
    assert (status.state, status.cause) == (State.FAILED, "TIMED_OUT")
    assert status.checkpoint_step > 0
    assert f"a checkpoint holds step {status.checkpoint_step}" in status.message
    page = MlflowClient(f"sqlite:///{home.path / 'mlflow.db'}").get_run(status.mlflow_run)
    assert (page.info.status, page.data.tags["stoker.cause"]) == ("FAILED", "TIMED_OUT")


@pytest.mark.slow
def test_a_run_cancelled_while_ray_starts_is_cancelled(home, job_file, until):
    run = home.run(home.json("submit", job_file(LONG), "--detach")["id"])
    home.stoker("cancel", run.path.name)
    until(lambda: run.record().state.ended, "the end")
    assert run.record().state is State.CANCELLED


@pytest.mark.slow
def test_a_run_whose_driver_is_terminated_while_ray_starts_can_be_resumed(home, job_file, until):
    run = home.run(home.json("submit", job_file(LONG), "--detach")["id"])
    os.kill(run.driver_pid(), signal.SIGTERM)
    until(lambda: run.record().state.ended, "the end")
    assert run.record().state is State.INTERRUPTED
    assert "Traceback" not in run.log.read_text()
    home.stoker("resume", run.path.name, "--detach")
    until(lambda: run.progress().step > 0, "the first step")
    home.stoker("cancel", run.path.name, "--wait")


def test_a_ray_that_cannot_start_fails_the_run_with_the_reason(home, job_file, tmp_path):
    far = tmp_path / ("far-" * 25)  # the paths of Ray's sockets have 107 bytes
    far.mkdir()
    home.environment["TMPDIR"] = str(far)
    home.stoker("submit", job_file(LONG), succeeds=False)
    (run,) = (home.run(path.name) for path in home.path.glob("runs/*"))
    status = run.record().status
    assert (status.state, status.cause) == (State.FAILED, "INTERNAL")
    assert "AF_UNIX" in status.message
    assert "Traceback" in run.log.read_text()


@pytest.mark.slow
def test_a_rejected_submit_leaves_no_run_and_no_driver(home, job_file, until):
    job = job_file(LONG.replace("iris", "{source: iris, columns: {label: nothing}}"))
    message = home.stoker("submit", job, succeeds=False)
    assert "dataset.columns.label" in message
    assert "no column 'nothing'" in message
    assert list(home.path.glob("runs/*")) == []
    mine = [p for p in psutil.process_iter() if "--standby" in _command(p) and _home_of(p) == str(home.path)]
    until(lambda: not any(p.is_running() for p in mine), "the driver on standby to go")


def _command(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _home_of(process):
    try:
        return process.environ().get("STOKER_HOME")
    except psutil.Error:
        return None
