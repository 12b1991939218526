"""A training function as Ray's users write it, from the command line to MLflow, through the deaths of its processes."""

import os
import signal
import sqlite3
from pathlib import Path

import psutil
import pytest

from stoker.errors import Cause
from stoker.tracking.journal import read_journal
from stoker.tracking.run import State
from stoker.tracking.run_folder import RunFolder

pytestmark = pytest.mark.timeout(600)

FUNCTION = """
import os, tempfile, time
from pathlib import Path

import mlflow
import torch
from ray import train
from ray.train.torch import prepare_model

def train_func(config):
    model = prepare_model(torch.nn.Linear(4, 1))
    bare = getattr(model, "module", model)
    optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"])
    start, rank = 0, train.get_context().get_world_rank()
    checkpoint = train.get_checkpoint()
    if checkpoint:
        with checkpoint.as_directory() as folder:
            state = torch.load(Path(folder) / "state.pt")
            bare.load_state_dict(state["model"])
            start = state["epoch"] + 1
    print("begins at", start, flush=True)
    if rank == 0 and start == 0:
        mlflow.log_param("by_hand", 7)
    for epoch in range(start, config["epochs"]):
        torch.manual_seed(epoch)
        x = torch.randn(64, 4)
        loss = (model(x) - x.sum(1, keepdim=True)).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if epoch == config.get("breaks_at"):
            raise ValueError("no such epoch")
        with tempfile.TemporaryDirectory() as folder:
            torch.save({"model": bare.state_dict(), "epoch": epoch}, Path(folder) / "state.pt")
            saved = train.Checkpoint.from_directory(folder) if rank == 0 and epoch % 2 else None
            train.report({"epoch": epoch, "loss": loss.item()}, checkpoint=saved)
        (Path(config["marks"]) / f"{rank}-{epoch}-{os.getpid()}").touch()
        time.sleep(config.get("seconds", 0))
"""
JOB = """
name: own
entrypoint: finetune:train_func
settings: {lr: 0.1, epochs: EPOCHS, marks: MARKS, seconds: SECONDS}
resources: {workers: WORKERS}
"""


@pytest.fixture
def own_job(tmp_path):
    (tmp_path / "marks").mkdir()

    def write(epochs: int, workers: int = 2, seconds: float = 0) -> Path:
        (tmp_path / "code").mkdir(exist_ok=True)
        (tmp_path / "code" / "finetune.py").write_text(FUNCTION)
        text = JOB.replace("EPOCHS", str(epochs)).replace("WORKERS", str(workers)).replace("SECONDS", str(seconds))
        file = tmp_path / "code" / "own.yaml"
        file.write_text(text.replace("MARKS", str(tmp_path / "marks")))
        return file

    return write


def losses(run: RunFolder) -> list[tuple[int, float]]:
    return [(e.step, e.metrics["loss"]) for e, _ in read_journal(run.journal) if "loss" in e.metrics]


def in_mlflow(home, query: str) -> list[tuple]:
    with sqlite3.connect(home.path / "mlflow.db") as database:
        return database.execute(query).fetchall()


def worker_pid(marks: Path, rank: int, epoch: int) -> int:
    [mark] = marks.glob(f"{rank}-{epoch}-*")
    return int(mark.name.rpartition("-")[2])


@pytest.mark.slow
def test_metrics_come_once_through_the_deaths_of_a_worker_and_of_the_driver(home, own_job, tmp_path, until):
    job, marks = own_job(epochs=24, seconds=0.4), tmp_path / "marks"
    run = home.run(home.json("submit", job, "--detach")["id"])
    until(lambda: list(marks.glob("1-5-*")), "the second worker's sixth epoch", 200)
    os.kill(worker_pid(marks, 1, 5), signal.SIGKILL)
    until(lambda: run.record().status.attempt == 2 and list(marks.glob("0-12-*")), "the second attempt", 200)
    psutil.Process(run.driver_pid()).kill()
    until(lambda: run.record().state is State.INTERRUPTED, "the driver's death")
    assert run.record().status.checkpoint_step >= 12
    home.stoker("resume", "own")
    status = run.record().status
    assert (status.state, status.attempt, status.checkpoint_step) == (State.SUCCEEDED, 3, 24)
    steps = [step for step, _ in losses(run)]
    assert steps == list(range(1, 25))
    stored = in_mlflow(home, "select step, value from metrics where key = 'loss' order by step")
    assert stored == losses(run)
    log = home.stoker("logs", "own")
    assert "INFRASTRUCTURE: the process of worker 1 died" in log
    assert log.count("begins at 0") == 2


def test_a_run_in_mlflow_has_what_the_function_logs_itself(home, own_job):
    run = home.run(home.json("submit", own_job(epochs=2, workers=1))["id"])
    assert run.record().status.metrics == {"epoch": 1.0, "loss": losses(run)[1][1]}
    params = dict(in_mlflow(home, "select key, value from params"))
    assert params["by_hand"] == "7"
    assert params["entrypoint"] == "finetune:train_func"
    assert params["settings.lr"] == "0.1"
    assert in_mlflow(home, "select distinct status from runs") == [("FINISHED",)]
    message = home.stoker("extend", "own", "--epochs", 3, succeeds=False)
    assert "runs own code, which says itself how long it trains" in message


def test_an_error_in_the_function_is_told_with_its_place(home, own_job):
    job = own_job(epochs=2, workers=1)
    home.stoker("submit", job, "--set", "settings.breaks_at=1", "--set", "resources.retries=0", succeeds=False)
    [run] = map(RunFolder, home.path.glob("runs/*"))
    status = run.record().status
    assert (status.state, status.cause, status.attempt) == (State.FAILED, Cause.USER_CODE, 1)
    assert status.message == "finetune.py:32: ValueError: no such epoch"
    assert in_mlflow(home, "select distinct status from runs") == [("FAILED",)]
    log = home.stoker("logs", "own")
    assert log.count('raise ValueError("no such epoch")') == 1
    assert "FunctionFailed" not in log


@pytest.mark.slow
def test_a_pause_waits_for_a_checkpoint_and_a_cancel_does_not(home, own_job, tmp_path, until):
    run = home.run(home.json("submit", own_job(epochs=200, workers=1, seconds=0.3), "--detach")["id"])
    until(lambda: list((tmp_path / "marks").glob("0-2-*")), "the third epoch", 200)
    home.stoker("pause", "own")
    until(lambda: run.record().state is State.PAUSED, "the pause")
    paused = run.record().status.checkpoint_step
    assert paused >= 4
    home.stoker("resume", "own", "--detach")
    until(lambda: len(losses(run)) > paused + 2, "more epochs", 200)
    home.stoker("cancel", "own")
    until(lambda: run.record().state is State.CANCELLED, "the end")
    assert [step for step, _ in losses(run)] == list(range(1, len(losses(run)) + 1))
