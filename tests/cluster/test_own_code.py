"""Own training code on the cluster: its metrics come once, and its checkpoints survive the pods."""

import os

import pytest

FUNCTION = """
import tempfile, time
from pathlib import Path

import mlflow
import torch
from ray import train
from ray.train.torch import prepare_model

def fit(settings):
    model = prepare_model(torch.nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rank, first = train.get_context().get_world_rank(), 0
    if checkpoint := train.get_checkpoint():
        with checkpoint.as_directory() as folder:
            state = torch.load(Path(folder) / "state.pt")
        model.module.load_state_dict(state["model"])
        first = state["epoch"] + 1
    if rank == 0 and first == 0:
        mlflow.log_param("by_hand", 7)
    print("begins at", first, flush=True)
    for epoch in range(first, settings["epochs"]):
        loss = model(torch.ones(8, 4)).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with tempfile.TemporaryDirectory() as folder:
            torch.save({"model": model.module.state_dict(), "epoch": epoch}, Path(folder) / "state.pt")
            saved = train.Checkpoint.from_directory(folder) if rank == 0 else None
            train.report({"epoch": epoch, "loss": loss.item()}, checkpoint=saved)
        time.sleep(settings["seconds"])
"""
FUNCTION_JOB = """
name: own
entrypoint: finetune:fit
settings: {epochs: 6, seconds: 0}
resources: {workers: 2}
tracking: {register: own-function}
"""
SCRIPT = """
import os
from pathlib import Path

import mlflow
import torch.distributed as dist

dist.init_process_group("gloo")
saved = Path(os.environ["STOKER_CHECKPOINT_DIR"]) / f"state-{dist.get_rank()}"
found = saved.read_text() if saved.exists() else "nothing"
print(f"rank {dist.get_rank()} of {dist.get_world_size()} found {found}", flush=True)
saved.write_text(f"attempt {os.environ['STOKER_ATTEMPT']}")
dist.barrier()
if os.environ["STOKER_ATTEMPT"] == "1":
    raise SystemExit(3)
if dist.get_rank() == 0:
    with mlflow.start_run():
        mlflow.log_metric("done", 1)
dist.destroy_process_group()
"""
SCRIPT_JOB = """
name: script
entrypoint: train.py
resources: {workers: 2}
tracking: {register: own-script}
"""


@pytest.fixture
def function_job(job, tmp_path):
    (tmp_path / "finetune.py").write_text(FUNCTION)
    return job(FUNCTION_JOB)


def test_a_function_is_recorded_and_its_checkpoint_registered(home, mlflow, steps_of, function_job):
    run = home.submit(function_job)
    assert home.json("wait", run)["state"] == "SUCCEEDED"
    shown = home.status(run)
    assert shown["metrics"]["epoch"] == 5
    assert steps_of(shown["mlflow_run"], "loss") == [*range(1, 7)]
    recorded = mlflow("runs/get", run_id=shown["mlflow_run"])["run"]
    assert recorded["info"]["status"] == "FINISHED"
    assert {"key": "by_hand", "value": "7"} in recorded["data"]["params"]
    versions = mlflow("model-versions/search", filter="name='own-function'")["model_versions"]
    assert shown["mlflow_run"] in [version["run_id"] for version in versions]
    files = mlflow("artifacts/list", run_id=shown["mlflow_run"], path="checkpoint")["files"]
    assert [file["path"] for file in files] == ["checkpoint/state.pt"]
    assert "report 6" in home.stoker("logs", run)


@pytest.mark.slow
def test_a_function_goes_on_from_its_checkpoint_when_its_pods_are_killed(
    home, steps_of, kube, api, function_job, namespace, until
):
    run = home.submit(function_job, "--set", "settings.epochs=150", "--set", "settings.seconds=1")
    until(lambda: home.going(run)["checkpoint_step"] > 5, "a checkpoint")
    worker = kube.pods(f"stoker.dev/run={run},ray.io/node-type=worker")[0]
    api.delete_namespaced_pod(worker["metadata"]["name"], namespace, grace_period_seconds=0)
    until(lambda: home.going(run)["attempt"] == 2 and home.going(run)["state"] == "RUNNING", "another attempt")
    before = home.status(run)["checkpoint_step"]
    until(lambda: home.going(run)["checkpoint_step"] > before, "its first checkpoint")
    (head,) = kube.pods(f"stoker.dev/run={run},ray.io/node-type=head")
    api.delete_namespaced_pod(head["metadata"]["name"], namespace, grace_period_seconds=0)
    until(lambda: home.status(run)["attempt"] == 3, "a new driver")
    assert home.json("wait", run)["state"] == "SUCCEEDED"
    shown = home.status(run)
    assert steps_of(shown["mlflow_run"], "loss") == [*range(1, 151)]


@pytest.mark.slow
@pytest.mark.skipif(
    not os.environ.get("STOKER_TEST_FRAMEWORKS"), reason="the image has neither Lightning nor transformers"
)
@pytest.mark.parametrize(
    ("name", "metric", "epochs"), [("lightning", "accuracy", 60), ("transformers", "eval_accuracy", 100)]
)
def test_a_framework_goes_on_from_its_checkpoint_when_a_pod_is_killed(
    home, steps_of, kube, api, jobs, namespace, until, name, metric, epochs
):
    more = ("--set", "environment.packages=[]", "--set", f"settings.epochs={epochs}")
    run = home.submit(jobs / "own-code" / f"digits-{name}.yaml", *more)
    until(lambda: home.going(run)["checkpoint_step"] > 2, "a checkpoint")
    worker = kube.pods(f"stoker.dev/run={run},ray.io/node-type=worker")[0]
    api.delete_namespaced_pod(worker["metadata"]["name"], namespace, grace_period_seconds=0)
    assert home.json("wait", run)["state"] == "SUCCEEDED"
    shown = home.status(run)
    assert shown["attempt"] == 2
    assert shown["metrics"][metric] > 0.9
    steps = steps_of(shown["mlflow_run"], metric)
    assert len(steps) == len(set(steps)) == epochs


def test_a_script_finds_its_files_again(home, mlflow, job, tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    run = home.submit(job(SCRIPT_JOB))
    assert home.json("wait", run)["state"] == "SUCCEEDED"
    shown = home.status(run)
    assert shown["attempt"] == 2
    log = home.stoker("logs", run)
    for rank in range(2):
        assert f"rank {rank} of 2 found nothing" in log
        assert f"rank {rank} of 2 found attempt 1" in log
    recorded = mlflow("runs/get", run_id=shown["mlflow_run"])["run"]
    assert [metric["key"] for metric in recorded["data"]["metrics"] if metric["key"] == "done"] == ["done"]
    files = mlflow("artifacts/list", run_id=shown["mlflow_run"], path="checkpoint")["files"]
    assert [file["path"] for file in files] == ["checkpoint/state-0", "checkpoint/state-1"]


SWEEP = """
sweep:
  metric: {name: loss, direction: min}
  search: grid
  parallel: 2
  space: {settings.epochs: [3, 6]}
"""


@pytest.mark.slow
def test_a_function_is_searched(home, children, steps_of, job, function_job):
    file = job(function_job.read_text().replace("workers: 2", "workers: 1") + SWEEP)
    file.with_name("finetune.py").write_text(FUNCTION.replace(".module", ""))
    run = home.submit(file)
    assert home.json("wait", run)["state"] == "SUCCEEDED"
    trials = home.json("trials", run, "--sort", "number")
    assert [(trial["state"], trial["epoch"]) for trial in trials] == [("SUCCEEDED", 3), ("SUCCEEDED", 6)]
    assert home.status(run)["facts"]["best_trial"] == "1"
    pages = children(home.status(run)["mlflow_run"])
    assert sorted(len(steps_of(page, "loss")) for page in pages.values()) == [3, 6]
    assert "trial 1 worker 0" in home.stoker("logs", run)
