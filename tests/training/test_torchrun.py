"""`torchrun -m stoker.training`: the same loop with neither Ray nor MLflow."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from stoker.jobfile.loading import load_job
from stoker.training.assembly import assemble
from stoker.training.events import StepEnd
from stoker.training.loop import start, train
from stoker.training.preparation import prepare
from stoker.training.transfer import load_weights

SOURCE = Path(__file__).parents[2] / "platform"
JOB = """
task: tabular-classification
architecture: {family: mlp, hidden: [16]}
dataset: breast-cancer
training: {epochs: 3, batch_size: 50, optimizer: {type: adamw, lr: 1e-2}, precision: fp32, checkpoint: {every: 4 steps}}
resources: {cpus: 1}
"""
FILLING = """
task: fill-mask
architecture: {family: transformer, width: 8, heads: 2, layers: 1}
dataset: {source: many.csv, split: {val: 0.1}}
training: {epochs: 1, batch_size: 8, precision: fp32}
resources: {cpus: 1}
"""
NO_RAY = """
import sys
import stoker.training.__main__
loaded = {name.split(".")[0] for name in sys.modules} & {"ray", "mlflow"}
assert not loaded, loaded
"""


def torchrun(job: Path, output: Path, workers: int) -> "subprocess.CompletedProcess[str]":
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(workers)]
    return stoker_training(job, output, *launcher)


def stoker_training(job: Path, output: Path, *launcher: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *launcher, "-m", "stoker.training", str(job), "--output", str(output)],
        capture_output=True,
        text=True,
        timeout=200,
        env=environment,
    )


def losses_of(output: Path) -> list[float]:
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [line["losses"]["loss"] for line in lines if "losses" in line]


@pytest.mark.usefixtures("one_thread")
def test_two_processes_train_like_one_which_then_resumes(tmp_path):
    job = tmp_path / "job.yaml"
    job.write_text(JOB)
    done = torchrun(job, tmp_path / "out", 2)
    assert done.returncode == 0, done.stderr
    state = start(assemble(prepare(load_job(job).job)))
    alone = [float(event.losses["loss"]) for event in train("r", state) if isinstance(event, StepEnd)]
    assert losses_of(tmp_path / "out") == pytest.approx(alone, abs=1e-5)
    results = json.loads(done.stdout.splitlines()[-1])["results"]
    assert results["accuracy/test"] > 0.8
    first = (tmp_path / "out" / "weights.safetensors").read_bytes()
    again = stoker_training(job, tmp_path / "out")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "out" / "weights.safetensors").read_bytes() == first
    assert len(losses_of(tmp_path / "out")) == len(alone)


def test_another_job_starts_from_its_weights_with_the_same_vocabulary(tmp_path):
    words = ["film", "plot", "good", "bad"]
    pd.DataFrame({"text": [" ".join(words[i % 4 :]) for i in range(40)]}).to_csv(tmp_path / "many.csv", index=False)
    few = pd.DataFrame({"text": ["a good film", "a bad film"] * 20, "label": ["+", "-"] * 20})
    few.to_csv(tmp_path / "few.csv", index=False)
    job, filling = tmp_path / "job.yaml", FILLING.replace("many.csv", str(tmp_path / "many.csv"))
    job.write_text(filling)
    done = stoker_training(job, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    job.write_text(
        filling.replace("fill-mask", "text-classification").replace("many.csv, ", "few.csv, columns: {label: label}, ")
    )
    prepared = prepare(load_job(job).job, start=tmp_path / "out")
    assert prepared.data.fields.text.vocabulary == "bad\ngood\nplot\nfilm"
    new = load_weights(assemble(prepared).objective, tmp_path / "out")
    assert new == ("network.output.weight", "network.output.bias")


@pytest.mark.slow
def test_neither_ray_nor_mlflow_is_loaded():
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    subprocess.run([sys.executable, "-c", NO_RAY], check=True, timeout=100, env=environment)


def test_a_user_error_is_reported_without_a_traceback(tmp_path):
    job = tmp_path / "job.yaml"
    job.write_text(JOB.replace("breast-cancer", "nowhere.csv"))
    done = stoker_training(job, tmp_path / "out")
    assert done.returncode != 0
    assert "nowhere.csv" in done.stderr
    assert "Traceback" not in done.stderr
