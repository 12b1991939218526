"""A training function as Ray's users write it, from the command line to MLflow, through the deaths of its processes."""

import os
import signal
import sqlite3
from pathlib import Path

import psutil
import pytest

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
        broken = Path(config["marks"]) / "broken"
        if epoch == config.get("breaks_at") and not broken.exists():
            broken.touch()
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


def values(run: RunFolder, key: str) -> list[tuple[int, float]]:
    return [(e.step, e.metrics[key]) for e, _ in read_journal(run.journal) if key in e.metrics]


def losses(run: RunFolder) -> list[tuple[int, float]]:
    return values(run, "loss")


def in_mlflow(home, query: str) -> list[tuple]:
    with sqlite3.connect(home.path / "mlflow.db") as database:
        return database.execute(query).fetchall()


def worker_pid(marks: Path, rank: int, epoch: int) -> int:
    [mark] = marks.glob(f"{rank}-{epoch}-*")
    return int(mark.name.rpartition("-")[2])


def ray_worker_pid(run: RunFolder) -> int:
    """Return the process of a worker of Ray Train, among those of the run's driver."""
    below = psutil.Process(run.driver_pid()).children(recursive=True)
    return next(each.pid for each in below if "RayTrainWorker" in " ".join(each.cmdline()))


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


def test_an_error_is_told_with_its_place_and_the_run_goes_on_from_its_checkpoint(home, own_job):
    run = home.run(home.json("submit", own_job(epochs=4, workers=1), "--set", "settings.breaks_at=3")["id"])
    status = run.record().status
    assert (status.state, status.attempt, status.checkpoint_step) == (State.SUCCEEDED, 2, 4)
    assert [step for step, _ in losses(run)] == [1, 2, 3, 4]
    assert status.metrics == {"epoch": 3.0, "loss": losses(run)[3][1]}
    log = home.stoker("logs", "own")
    assert "attempt 1 failed after step 3: USER_CODE: finetune.py:34: ValueError: no such epoch" in log
    assert log.count('raise ValueError("no such epoch")') == 1
    assert "FunctionFailed" not in log
    assert "begins at 2" in log
    params = dict(in_mlflow(home, "select key, value from params"))
    assert params["by_hand"] == "7"
    assert params["entrypoint"] == "finetune:train_func"
    assert params["settings.lr"] == "0.1"
    assert in_mlflow(home, "select distinct status from runs") == [("FINISHED",)]
    [(note,)] = in_mlflow(home, "select value from tags where key = 'mlflow.note.content'")
    assert note.startswith("| last report | value |\n|---|---|\n| epoch | 3 |\n| loss | ")
    assert "predict" not in note
    used = in_mlflow(home, "select step, value from metrics where key = 'system/system_memory_usage_megabytes'")
    assert [step for step, _ in sorted(used)] == [*range(len(used))]
    assert min(megabytes for _, megabytes in used) > 50
    message = home.stoker("extend", "own", "--epochs", 3, succeeds=False)
    assert "runs own code, which says itself how long it trains" in message


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


@pytest.mark.slow
@pytest.mark.parametrize(("library", "key"), [("lightning", "loss"), ("transformers", "eval_loss")])
def test_the_callbacks_of_other_libraries_report_once_through_the_deaths_of_a_worker_and_of_the_driver(
    home, until, library, key
):
    pytest.importorskip(library)
    job = Path(__file__).parents[3] / "jobs" / "own-code" / f"digits-{library}.yaml"
    run = home.run(home.json("submit", job, "--set", "settings.epochs=40", "--detach")["id"])
    until(lambda: len(values(run, key)) > 3, "reports", 240)
    os.kill(ray_worker_pid(run), signal.SIGKILL)
    until(lambda: run.record().status.attempt == 2, "the second attempt", 240)
    before = len(values(run, key))
    until(lambda: len(values(run, key)) > before + 3, "more reports", 240)
    psutil.Process(run.driver_pid()).kill()
    until(lambda: run.record().state is State.INTERRUPTED, "the driver's death")
    home.stoker("resume", "digits")
    status = run.record().status
    assert (status.state, status.attempt, status.checkpoint_step) == (State.SUCCEEDED, 3, 40)
    assert [step for step, _ in values(run, key)] == list(range(1, 41))
    assert values(run, key)[-1][1] < values(run, key)[2][1]
    assert in_mlflow(home, f"select step, value from metrics where key = '{key}' order by step") == values(run, key)
