"""Sweeps on disk as a driver writes them, and the MLflow stores in which they are recorded."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import ray
from mlflow import MlflowClient
from mlflow.entities import Run

from stoker.execution.driver import Driver
from stoker.execution.resolved_job import write_resolved
from stoker.execution.results import write_model
from stoker.execution.sweeps.driver import SweepDriver, SweepPlacement
from stoker.execution.sweeps.trial_recording import TrialRecording
from stoker.job.concurrency import trials_at_once
from stoker.job.job import Job
from stoker.jobfile.loading import dump_job, load_job
from stoker.settings import Settings, embedded_uri
from stoker.tracking.journal import Journal, read_journal
from stoker.tracking.ledger import Ledger, read_trials
from stoker.tracking.mlflow_run import MlflowRun
from stoker.tracking.run import RunHeader, State, now
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.tags import PARENT_TAG, RUN_TAG
from stoker.tracking.trials import trial_id
from stoker.training.assembly import assemble
from stoker.training.preparation import prepare

STEPS = 20
GOALS = {"accuracy/val": "max"}


class Sweep:
    """One sweep: its folder, its MLflow run, and the files of its driver."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings = settings
        self.folder = RunFolder(settings.home / "runs" / name)
        self.header = self._header(name)
        self.folder.create(self.header, "task: tabular-classification\ndataset: iris\n")
        self.ledger = Ledger(self.folder.ledger)
        self.announced: dict[int, tuple[str, str]] = {}

    def open(self) -> MlflowRun:
        """Open its MLflow run, as its recording does."""
        artifacts = self.settings.artifacts if self.settings.embedded else None
        return MlflowRun.open(self.header, self.settings.tracking_uri, artifacts, {})

    def announce(self, number: int, run_id: str, page: str) -> None:
        self.announced[number] = run_id, page

    def begin(self, number: int, lr: float = 0.01, width: int = 32, resolve: bool = True) -> RunFolder:
        """Start a trial: write ledger, folder and resolved job."""
        values = {"training.optimizer.lr": lr, "architecture.hidden": [width, width]}
        self.ledger.begin(number, {"lr": lr, "hidden": width}, values)
        folder = self.folder.trial(number)
        job = Job.model_validate(
            {
                "task": "tabular-classification",
                "dataset": "iris",
                "architecture": {"family": "mlp", "hidden": [width, width]},
                "training": {"optimizer": {"type": "adamw", "lr": lr}, "epochs": 3, "batch_size": 16},
            }
        )
        folder.create(self._header(trial_id(self.header.id, number)), dump_job(job))
        if resolve:
            write_resolved(folder.resolved, job, "f" * 64)
        return folder

    def train(self, number: int, epochs: int, first: int = 1, steps: bool = True) -> dict[str, float]:
        """Write epochs to a trial's journal, as its worker does, and to the ledger, as the driver does."""
        journal, metrics = Journal(self.folder.trial(number).journal), dict[str, float]()
        for epoch in range(first, first + epochs):
            step = epoch * STEPS
            for within in range(step - STEPS + 5, step + 1, 5) if steps else ():
                journal.append(within, epoch, {"loss/step": 1 / within, "learning_rate/step": 0.01})
            score = 1 - 1 / (2 + epoch + number % 7)
            metrics = {"accuracy/val": score, "loss/val": 1 - score, "loss/train": 1.1 - score}
            journal.append(step, epoch, metrics)
            self.ledger.report(number, epoch, step, metrics)
        journal.close()
        return metrics

    def end(self, number: int, state: State = State.SUCCEEDED, **more: Any) -> None:
        """End a trial."""
        self.ledger.end(number, state, more.pop("metrics", {}), **more)

    def whole(self, number: int, **values: Any) -> None:
        """Start a trial, train three epochs and end it as succeeded."""
        self.begin(number, **values)
        metrics = self.train(number, 3)
        self.end(number, metrics=metrics | {"accuracy/test": metrics["accuracy/val"] - 0.01})

    def pages(self, parent: MlflowRun | None) -> TrialRecording:
        """Create the recording of its trials."""
        return TrialRecording(self.folder, self.settings, lambda: parent, self.announce, GOALS)

    def recorded(self) -> dict[int, Run]:
        """Read the trials' child runs, by the trials' numbers."""
        client = MlflowClient(self.settings.tracking_uri)
        experiment = client.get_experiment_by_name(self.header.experiment)
        runs = client.search_runs([experiment.experiment_id], f"tags.`{PARENT_TAG}` != ''")
        found = {int(run.data.tags[RUN_TAG].rpartition(".")[2]): run for run in runs}
        assert len(found) == len(runs), "two pages of one trial"
        return found

    def check_journal(self, number: int) -> None:
        """Check that every value of a trial's journal is in its child run, once."""
        client, run_id = MlflowClient(self.settings.tracking_uri), self.recorded()[number].info.run_id
        written: dict[str, list[tuple[int, float, int]]] = {}
        for entry, _ in read_journal(self.folder.trial(number).journal):
            for key, value in entry.metrics.items():
                written.setdefault(key, []).append((entry.step, value, entry.time_ms))
        assert written
        for key, points in written.items():
            history = client.get_metric_history(run_id, key)
            assert sorted((metric.step, metric.value, metric.timestamp) for metric in history) == points

    def _header(self, name: str) -> RunHeader:
        uri = self.settings.tracking_uri
        return RunHeader(name, "iris", "tabular-classification", "mlp", "iris", now(), 1, uri, f"on {name}"[:40])


class TrackingServer:
    """An MLflow server that may be down temporarily."""

    def __init__(self, folder: Path, port: int) -> None:
        self.uri = f"http://127.0.0.1:{port}"
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        store = ("--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}")
        files = ("--artifacts-destination", str(self.folder / "files"))
        place = ("--port", self.uri.rpartition(":")[2], "--workers", "1")
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "mlflow", "server", *store, *files, *place],
                cwd=self.folder,
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self) -> None:
        if self._process:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(20)
            self._process = None


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """An embedded store, shared since creating the tables takes seconds; each sweep has its own experiment there."""
    home = tmp_path_factory.mktemp("home")
    return Settings(home, embedded_uri(home))


@pytest.fixture
def new_sweep(store: Settings, request: pytest.FixtureRequest) -> Iterator[Callable[..., Sweep]]:
    made: list[Sweep] = []

    def make(settings: Settings = store) -> Sweep:
        made.append(Sweep(settings, f"{request.node.name.removeprefix('test_')[:30]}-{len(made)}"))
        return made[-1]

    yield make
    for sweep in made:
        sweep.ledger.close()


@pytest.fixture
def sweep(new_sweep: Callable[..., Sweep]) -> Sweep:
    return new_sweep()


@pytest.fixture
def ship_all() -> Callable[..., TrialRecording]:
    """Record the current state of a sweep in MLflow, as by a new driver."""

    def ship(sweep: Sweep, parent: MlflowRun | None = None) -> TrialRecording:
        pages = sweep.pages(parent or sweep.open())
        pages.start()
        assert pages.close(60.0) == ""
        return pages

    return ship


@pytest.fixture
def write_untrained_model() -> Callable[[RunFolder], None]:
    """Write an untrained model of a trial, as a worker does."""

    def leave(folder: RunFolder) -> None:
        assembly = assemble(prepare(load_job(folder.job).job))
        write_model(folder, assembly)

    return leave


@pytest.fixture
def tracking_server(tmp_path: Path, free_port: int, mlflow_tables: Callable[[Path], None]) -> Iterator[TrackingServer]:
    (tmp_path / "server").mkdir()
    mlflow_tables(tmp_path / "server" / "mlflow.db")
    server = TrackingServer(tmp_path / "server", free_port)
    yield server
    server.stop()


@pytest.fixture
def without_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable the retries of MLflow's client: the recording itself retries."""
    settings: Mapping[str, str] = {"RETRIES": "0", "TIMEOUT": "5"}
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", settings["RETRIES"])
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", settings["TIMEOUT"])


@pytest.fixture(scope="module")
def session():
    """Start a Ray whose processes are reused from sweep to sweep."""
    folder = Path(tempfile.mkdtemp(prefix="stoker-"))
    ray.init(address="local", num_cpus=2, include_dashboard=False, _temp_dir=str(folder), logging_level="warning")
    yield folder
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def driven(session, tmp_path, monkeypatch):
    """Create or reopen a sweep, and drive it to its end."""
    monkeypatch.setenv("STOKER_HOME", str(tmp_path))
    (tmp_path / "runs").mkdir()

    class Sweep:
        def __init__(self, job, name="small"):
            self.job = job
            self.folder = RunFolder(tmp_path / "runs" / f"{name}-00000000")
            header = RunHeader(self.folder.path.name, name, job.task, "mlp", "digits", 1.0, 1, "", "")
            self.folder.create(header, dump_job(job))
            self.terminated = threading.Event()

        def drive(self):
            self.terminated.clear()
            driver = Driver(self.folder, self.terminated)
            room = SweepPlacement(trials_at_once(self.job, 2, 0), shared_disk=True, session=session)
            return driver.run(SweepDriver(driver, room).run)

        @property
        def trials(self):
            return read_trials(self.folder.ledger)

        def interrupt_when(self, reached):
            """Stop the driver once the trials have made this progress."""

            def watch():
                while not reached(self.trials):
                    time.sleep(0.02)
                self.terminated.set()

            threading.Thread(target=watch, daemon=True).start()

    return Sweep
