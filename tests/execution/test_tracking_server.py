"""Runs that are recorded on a tracking server, or not at all."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient

from stoker.clusters.mlflow_api import MlflowApi
from stoker.tracking.run import RunStatus, State

TABLE = """
name: weather
task: tabular-classification
dataset: {source: weather.csv, columns: {label: rain}}
training: {epochs: 30, precision: fp32}
tracking: {experiment: weather, register: rain}
"""


@pytest.fixture
def server(tmp_path, until, answers, free_port):
    """A tracking server with its own store."""
    folder = tmp_path / "server"
    folder.mkdir()
    uri = f"http://127.0.0.1:{free_port}"
    store, files = f"sqlite:///{folder / 'mlflow.db'}", str(folder / "files")
    command = ["server", "--backend-store-uri", store, "--artifacts-destination", files, "--port", str(free_port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "mlflow", *command, "--workers", "1"],
            cwd=folder,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    until(lambda: answers(f"{uri}/health"), "the tracking server", 90)
    yield uri
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(20)


@pytest.fixture
def home(home):
    """A home without an embedded store, which a run with a server has no use for."""
    (home.path / "mlflow.db").unlink()
    return home


@pytest.fixture
def table(tmp_path):
    """A table with numbers, words, some missing values, and a column of row numbers."""
    rows = []
    for number in range(300):
        damp, wind = number % 7, ("north", "south", "west")[number % 3]
        rain = "yes" if damp > 3 or wind == "west" else "no"
        rows.append((number, damp if number % 11 else None, wind if number % 13 else None, rain))
    pd.DataFrame(rows, columns=["id", "damp", "wind", "rain"]).to_csv(tmp_path / "weather.csv", index=False)


def test_a_server_has_the_run_its_model_and_a_version(home, server, table, job_file, tmp_path):
    home.environment["MLFLOW_TRACKING_URI"] = server
    submitted = home.json("submit", job_file(TABLE), "--set", "resources.workers=2", "--profile", 3)
    assert not (home.path / "mlflow.db").exists()
    assert submitted["metrics"]["accuracy/test"] > 0.8
    client = MlflowClient(server)
    run = client.get_run(submitted["mlflow_run"])
    assert run.info.status == "FINISHED"
    assert run.data.params["dataset.columns.features"] == '["damp", "wind"]'
    assert run.data.metrics["accuracy/test"] == submitted["metrics"]["accuracy/test"]
    profile = [file.path for file in client.list_artifacts(submitted["mlflow_run"], "profile")]
    assert profile == ["profile/operators.txt", "profile/trace.json.gz"]
    _require_that_each_worker_has_system_metrics(client, run)
    mlflow.set_tracking_uri(server)
    model = mlflow.pyfunc.load_model("models:/rain/1")
    answer = model.predict(pd.DataFrame({"damp": [6.0, None, 0.0], "wind": ["north", "west", "never seen"]}))
    assert list(answer["prediction"])[:2] == ["yes", "yes"]
    assert home.json("status", "@last")["state"] == "SUCCEEDED"
    _require_that_a_client_without_mlflow_reads_it(MlflowApi(server), submitted, tmp_path)


def _require_that_each_worker_has_system_metrics(client, run):
    system = {key.removeprefix("system/") for key in run.data.metrics if key.startswith("system/")}
    names = {"cpu_utilization_percentage", "system_memory_usage_megabytes", "disk_usage_percentage"}
    assert {f"worker-{rank}/{name}" for rank in (0, 1) for name in names} <= system
    assert {key.split("/")[0] for key in system} == {"worker-0", "worker-1"}
    used = [run.data.metrics[f"system/worker-{rank}/system_memory_usage_megabytes"] for rank in (0, 1)]
    assert used[0] != used[1]
    assert min(used) > 100  # each has its libraries
    for name in names:
        history = client.get_metric_history(run.info.run_id, f"system/worker-1/{name}")
        assert [metric.step for metric in history] == list(range(len(history)))


def _require_that_a_client_without_mlflow_reads_it(pages, run, folder):
    """The requests of a cluster client to the server, after the run's own objects are gone."""
    status = pages.status("weather", run["id"], RunStatus())
    assert (status.state, status.attempt, status.exit_code) == (State.SUCCEEDED, 1, 0)
    assert {key: status.metrics[key] for key in run["metrics"]} == run["metrics"]
    assert (status.mlflow_run, status.model_uri) == (run["mlflow_run"], run["model_uri"])
    assert pages.fetch("weather", run["id"], "resolved.yaml", folder / "fetched" / "resolved.yaml")
    assert "weather" in (folder / "fetched" / "resolved.yaml").read_text()
    assert not pages.fetch("weather", run["id"], "nothing.txt", folder / "fetched" / "nothing.txt")
    pages.fetch_model(status.model_uri, folder / "fetched" / "model")
    assert (folder / "fetched" / "model" / "weights.safetensors").read_bytes() == (
        Path(run["model"]) / "weights.safetensors"
    ).read_bytes()
    assert pages.status("weather", "another-run", RunStatus()) is None
    assert pages.status("another experiment", run["id"], RunStatus()) is None
    pages.end("weather", run["id"], State.CANCELLED)
    assert pages.status("weather", run["id"], RunStatus()).state is State.CANCELLED


def test_a_server_that_is_down_is_reported_before_the_run_starts(home, table, job_file):
    home.environment["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:9"
    message = home.stoker("submit", job_file(TABLE), succeeds=False)
    assert message == (
        "error: tracking server http://127.0.0.1:9 does not answer (Connection refused); "
        "start it, or unset MLFLOW_TRACKING_URI to use the embedded store\n"
    )
    assert not (home.path / "runs").exists()


@pytest.mark.slow
def test_without_tracking_there_is_no_store(home, table, job_file, tmp_path):
    job = job_file(TABLE.replace("{experiment: weather, register: rain}", "none"))
    submitted = home.json("submit", job)
    run = home.run(submitted["id"])
    assert run.record().state is State.SUCCEEDED
    assert not (home.path / "mlflow.db").exists()
    assert (run.model / "weights.safetensors").exists()
    home.stoker("predict", "weather", "--input", tmp_path / "weather.csv", "--output", tmp_path / "out.csv")
    assert (
        pd.read_csv(tmp_path / "out.csv")["prediction"] == pd.read_csv(tmp_path / "weather.csv")["rain"]
    ).mean() > 0.8
