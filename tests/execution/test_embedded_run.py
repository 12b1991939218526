"""A run from the command line to its record in the embedded store."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from PIL import Image

from stoker.tracking.journal import read_journal
from stoker.tracking.run import State


@pytest.fixture(scope="session")
def page(digits):
    home, run = digits
    client = MlflowClient(f"sqlite:///{home.path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("figures")
    (found,) = client.search_runs([experiment.experiment_id], f"tags.`stoker.run` = '{run.path.name}'")
    return client, found


def test_ends_in_one_state_with_metrics_of_every_part(digits):
    _, run = digits
    status = run.record().status
    assert status.state is State.SUCCEEDED
    assert {
        f"{metric}/{part}" for metric in ("loss", "accuracy", "f1", "auroc") for part in ("train", "val", "test")
    } == set(status.metrics)
    assert status.metrics["accuracy/test"] > 0.9


def test_the_log_has_a_line_for_each_epoch_and_no_foreign_one(digits):
    home, run = digits
    lines = home.stoker("logs", run.path.name).splitlines()
    assert [f"epoch {number}/12" in line for number, line in enumerate(lines[:12], start=1)] == [True] * 12, lines
    assert "accuracy/val 0." in lines[11]
    assert lines[12:] == [
        "Successfully registered model 'digit-reader'.",
        "Created version '1' of model 'digit-reader'.",
    ]


def test_mlflow_has_the_run_finished_and_named(digits, page):
    _, run = digits
    _, found = page
    assert found.info.status == "FINISHED"
    assert found.info.run_name == run.path.name
    tags = found.data.tags
    assert tags["stoker.state"] == "SUCCEEDED"
    assert len(tags["stoker.data"]) == 64
    assert tags["stoker.code"]
    assert tags["stoker.end"] == "length"


def test_every_value_of_the_journal_is_in_mlflow_exactly_once(digits, page):
    _, run = digits
    client, found = page
    journal = [
        (key, entry.step, value) for entry, _ in read_journal(run.journal) for key, value in entry.metrics.items()
    ]
    assert len(journal) == len({(key, step) for key, step, _ in journal})
    keys = {key for key, _, _ in journal}
    stored = [(key, m.step, m.value) for key in keys for m in client.get_metric_history(found.info.run_id, key)]
    assert sorted(stored) == sorted(journal)
    assert {"loss/step", "learning_rate/step", "gradient_norm/step", "loss/train", "loss/val", "accuracy/test"} <= keys


def test_parameters_are_the_resolved_job_by_path(page):
    _, found = page
    params = found.data.params
    assert params["architecture.channels"] == "[16, 32]"
    assert params["training.optimizer.lr"] == "0.01"
    assert params["training.precision"] == "fp32"
    assert params["training.checkpoint.best"] == "accuracy/val"
    assert int(params["resources.cpus"]) >= 1


def test_system_metrics_are_recorded(page):
    _, found = page
    system = {key for key in found.data.metrics if key.startswith("system/")}
    usage = {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"}
    assert usage | {"system/step_work_milliseconds"} <= system
    assert not any("worker" in key for key in system)  # the only worker has MLflow's plain names


def test_the_mlflow_run_has_job_environment_and_pictures(digits, page):
    client, found = page
    files = {file.path for file in client.list_artifacts(found.info.run_id)}
    assert {
        "resolved.yaml",
        "environment.json",
        "first-batch.png",
        "predicted.png",
        "confusion-matrix-test.png",
        "precision-recall-test.png",
        "classes-test.csv",
        "worst-test.csv",
        "worst-test.png",
    } <= files
    _, run = digits
    with Image.open(run.artifacts / "worst-test.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10  # it shows something
    with Image.open(run.artifacts / "first-batch.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10
    classes = pd.read_csv(run.artifacts / "classes-test.csv")
    assert (classes["class"].tolist(), classes["samples"].sum()) == ([*range(10)], 359)
    worst = pd.read_csv(run.artifacts / "worst-test.csv")
    assert worst["loss"].is_monotonic_decreasing
    assert worst["sample"].str.startswith("digits[").all()


def test_the_link_names_experiment_and_run(digits, page):
    _, run = digits
    _, found = page
    expected = f"/#/experiments/{found.info.experiment_id}/runs/{found.info.run_id}?workflowType=machine_learning"
    assert run.status().url == expected


def test_the_resolved_job_reproduces_the_run_even_without_ray(digits, tmp_path):
    home, run = digits
    command = [sys.executable, "-P", "-m", "stoker.training", str(run.resolved), "--output", str(tmp_path / "again")]
    subprocess.run(command, env=home.environment, check=True, capture_output=True, timeout=240)
    lines = (tmp_path / "again" / "metrics.jsonl").read_text().splitlines()
    (results,) = [line["results"] for line in map(json.loads, lines) if "results" in line]
    assert results == run.status().metrics


def test_the_model_is_registered_without_pickles(digits, page):
    home, run = digits
    client, found = page
    version = client.get_model_version("digit-reader", 1)
    assert version.status == "READY"
    mlflow.set_tracking_uri(f"sqlite:///{home.path / 'mlflow.db'}")
    assert (
        client.get_logged_model(run.status().model_uri.removeprefix("models:/")).experiment_id
        == found.info.experiment_id
    )
    folder = Path(mlflow.artifacts.download_artifacts(run.status().model_uri))
    assert folder.is_relative_to(home.path / "artifacts")
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert {"weights.safetensors", "fields.json", "job.json"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".pth"))]


def test_evaluate_agrees_with_training(digits):
    home, run = digits
    measured = home.json("evaluate", run.path.name)
    reported = {key: value for key, value in run.status().metrics.items() if key.endswith("/test")}
    assert measured == pytest.approx(reported, abs=1e-6)


def test_predict_needs_only_the_run_and_a_folder_of_images(digits, tmp_path):
    home, run = digits
    images = tmp_path / "images"
    images.mkdir()
    from stoker.datasets.sources.builtin import read_builtin

    data = read_builtin("digits")
    for number in range(20):
        Image.fromarray(data.columns["image"][number, ..., 0]).save(images / f"{number}.png")
    hidden = run.path / "hidden"
    run.model.rename(hidden)  # only MLflow's copy is left
    try:
        output = tmp_path / "out.csv"
        home.stoker("predict", "digits", "--input", images, "--output", output)
    finally:
        hidden.rename(run.model)
    table = pd.read_csv(output)
    names = [int(Path(name).stem) for name in table["input"]]
    assert (table["prediction"].astype(str) == [data.columns["digit"][name] for name in names]).mean() >= 0.9


def test_several_pictures_and_the_frames_of_an_animation_are_predicted_and_drawn(digits, tmp_path):
    home, _ = digits
    from stoker.datasets.sources.builtin import read_builtin

    pixels = read_builtin("digits").columns["image"][:3, ..., 0]
    first, *others = [Image.fromarray(each) for each in pixels]
    first.save(tmp_path / "one.png")
    first.save(tmp_path / "clip.gif", save_all=True, append_images=others)
    given = ("--input", tmp_path / "one.png", "--input", tmp_path / "clip.gif")
    home.stoker("predict", "digits", *given, "--output", tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert table["prediction"].tolist() == [0, 0, 1, 2]
    drawn = sorted(path.name for path in (tmp_path / "out" / "annotated").iterdir())
    assert drawn == ["clip-0000.png", "clip-0001.png", "clip-0002.png", "one.png"]


def test_the_embedded_store_is_created_once_in_the_home(digits):
    home, _ = digits
    with sqlite3.connect(home.path / "mlflow.db") as store:
        assert store.execute("select count(*) from runs").fetchone()[0] >= 1


def test_no_ray_process_is_left(digits, until):
    _, run = digits
    until(lambda: not run.has_driver(), "the driver to go")
    assert not (run.path / "ray_session").exists()
