"""`plan`: the real plan of a small job, and how large ones are kept short."""

import json
from dataclasses import replace

import pytest
from click import unstyle

from stoker.cli.views.plan import SHOWN_LAYERS, plan_text
from stoker.job.concurrency import machine_cpus
from stoker.jobfile.loading import parse_job
from stoker.planning.run import Layer, make_plan

JOB = "task: tabular-classification\ndataset: iris\ntraining: {epochs: 2, batch_size: 40}\n"


@pytest.fixture
def job(tmp_path):
    path = tmp_path / "iris.yaml"
    path.write_text(JOB)
    return path


@pytest.fixture(scope="module")
def made():
    return make_plan(parse_job(JOB, "iris.yaml").job)


def test_a_plan_shows_layers_data_and_length(stoker, job, capsys):
    assert stoker("plan", job) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("iris  tabular-classification: mlp on iris, 2 epochs\n")
    assert "part   samples  setosa  versicolor  virginica" in shown
    assert "train      120" in shown
    assert "2 epochs of 3 steps, 6 steps in all, 40 samples each" in shown


def test_a_plan_as_json_is_whole(stoker, job, capsys):
    assert stoker("plan", job, "-o", "json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["parameters"] == sum(layer["parameters"] for layer in shown["layers"])
    assert sum(shown["parts"]["train"].values()) == 120
    assert shown["job"]["architecture"]["family"] == "mlp"


def test_what_the_plan_finds_wrong_has_its_line(stoker, job, capsys):
    job.write_text(JOB.replace("batch_size: 40", "batch_size: 4000"))
    assert stoker("plan", job) == 2
    head, problem = capsys.readouterr().err.splitlines()
    assert head == f"{job}: 1 problem"
    assert problem.split()[:2] == ["3:35", "training.batch_size"]


@pytest.mark.parametrize("workers", [1, 2])
def test_the_place_names_the_workers(workers, stoker, job, capsys):
    assert stoker("plan", job, "--set", f"resources={{workers: {workers}, cpus: 1, gpus: 0}}") == 0
    share = {1: "1 worker, 1 CPU, no GPU", 2: "2 workers, 1 CPU each, no GPU"}[workers]
    assert f"this machine: embedded Ray, {share}\n" in capsys.readouterr().out


def test_more_workers_than_cores_are_a_note(stoker, job, capsys):
    cores = machine_cpus()
    assert stoker("plan", job, "--set", f"resources.workers={cores + 1}", "-o", "json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["place"] == f"this machine: embedded Ray, {cores + 1} workers, 1 CPU each, no GPU"
    assert any(note.startswith(f"resources: {cores + 1} workers with 1 CPU each share") for note in shown["notes"])


def test_a_deep_network_is_cut_in_the_middle(made):
    layers = tuple(Layer(f"layers.{number}", "Linear", (8,), 1000) for number in range(100))
    shown = plan_text(replace(made, layers=layers))
    assert shown.count("Linear") == SHOWN_LAYERS
    assert f"... {100 - SHOWN_LAYERS} more" in shown
    assert f"{(100 - SHOWN_LAYERS) * 1000:,}" in shown
    assert "layers.0 " in shown
    assert "layers.99 " in shown


def test_many_classes_become_their_extremes(made):
    shown = unstyle(plan_text(replace(made, parts={"train": {str(number): 10 + number for number in range(100)}})))
    assert "part   samples  classes  smallest  largest" in shown
    assert "train    5,950      100        10      109" in shown


def test_values_have_no_classes(made):
    assert "part   samples\ntrain      354" in unstyle(plan_text(replace(made, parts={"train": {"": 354}})))


def test_training_by_the_clock_has_no_number_of_steps(made):
    training = made.job.training.model_copy(update={"epochs": None, "time": "10 min"})
    timed = replace(made, job=made.job.model_copy(update={"training": training}), steps=0, epochs=0)
    assert "training    10 min, 3 steps an epoch, 40 samples each" in unstyle(plan_text(timed))


def test_the_plan_for_a_cluster_describes_the_cluster(stoker, job, home, tmp_path, monkeypatch, capsys):
    config = tmp_path / "stoker" / "config.yaml"
    config.parent.mkdir()
    config.write_text("clusters: {lab: {ray_address: 'http://lab:8265', storage: /mnt}}\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    wanted = ("resources={workers: 20, cpus: 32, gpus: 1, memory: 8 GiB}",)
    assert stoker("plan", job, "--cluster", "lab", "--set", *wanted) == 0
    shown = capsys.readouterr().out
    assert "20 workers, 32 CPUs each, 1 GPU each, memory 8GiB each\n" in shown
    assert "cluster 'lab'" in shown
    assert "MiB for each worker\n" in shown
    assert "this machine" not in shown
    assert stoker("plan", job, "--set", *wanted) == 2
