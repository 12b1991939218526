"""Run folders as they really are, with real drivers where a run is alive."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stoker.cli.main import main
from stoker.tracking.ledger import Ledger
from stoker.tracking.run import Progress, RunHeader, RunStatus, State, now
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.trials import SweepFacts, trial_id, write_facts

SOURCE = Path(__file__).parents[2] / "platform"
DRIVER = Path(__file__).with_name("driver.py")
DEADLINE_S = 20.0


class Driver:
    """The living driver of a run; see driver.py."""

    def __init__(self, folder: RunFolder) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(DRIVER), str(folder.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )
        self._await()

    def tell(self, **order: Any) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        self._await()

    def end(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(DEADLINE_S)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_S)

    def _await(self) -> None:
        assert self.process.stdout
        assert self.process.stdout.readline() == "done\n"


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own configuration must not reach a test."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    stokers = ("STOKER_HOME", "STOKER_STORAGE", "STOKER_CACHE", "STOKER_CACHE_SIZE", "STOKER_DEBUG")
    for name in (*stokers, "MLFLOW_TRACKING_URI", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def stoker(home: Path) -> Callable[..., int]:
    """Call the command in this process, in the test's own home."""
    return lambda *arguments: main(["--home", str(home), *map(str, arguments)])


def wait_until(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {deadline_s:g} s for {what}"
        time.sleep(0.01)


@pytest.fixture
def until() -> Callable[..., None]:
    return wait_until


@pytest.fixture
def starting(home: Path) -> Iterator[Callable[..., int]]:
    """Call the command in this process, with drivers that do not train; see driver.py."""
    command = (sys.executable, str(DRIVER))
    yield lambda *arguments: main(["--home", str(home), *map(str, arguments)], command)
    for path in home.glob("runs/*"):
        folder = RunFolder(path)
        folder.cancel_request.touch()
        wait_until(lambda folder=folder: not folder.has_driver(), "the driver to go")


@pytest.fixture
def spawn(home: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start the command as a process of its own, for what needs signals, pipes or a fresh interpreter."""
    started = []

    def start(*arguments: object, **streams: Any) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "stoker.cli.main", "--home", str(home), *map(str, arguments)]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
        environment = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1"}
        started.append(subprocess.Popen(command, text=True, env=environment, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def make_run(home: Path) -> Callable[..., RunFolder]:
    """Make a run's folder; each is newer than those before."""
    made = 0

    def make(
        run_id: str = "digits-00000001",
        status: RunStatus | None = None,
        progress: Progress | None = None,
        log: str = "",
        tracking_uri: str | None = None,
        job: str = "task: image-classification\ndataset: digits\nname: digits\n",
    ) -> RunFolder:
        nonlocal made
        made += 1
        folder = RunFolder(home / "runs" / run_id)
        uri = f"sqlite:///{home / 'mlflow.db'}" if tracking_uri is None else tracking_uri
        name = run_id.rpartition("-")[0]
        folder.create(
            RunHeader(run_id, name, "image-classification", "cnn", "digits", now(), made, uri, name if uri else ""), job
        )
        if status:
            folder.write_status(status)
        if progress:
            folder.write_progress(progress)
        if log:
            folder.log.write_text(log, encoding="utf-8")
        return folder

    return make


class Trials:
    """Writes of a sweep what its driver writes."""

    def __init__(self, folder: RunFolder, facts: SweepFacts) -> None:
        self.folder = folder
        write_facts(folder, facts)
        self.ledger = Ledger(folder.ledger)

    def begin(self, number: int, job: str = "", **values: Any) -> None:
        paths = {path.replace("__", "."): value for path, value in values.items()}
        self.ledger.begin(number, paths, paths)
        header = replace(self.folder.header(), id=trial_id(self.folder.path.name, number))
        self.folder.trial(number).create(header, job or self.folder.job.read_text())
        self.folder.trial(number).write_status(RunStatus(State.RUNNING, "training", started=now()))

    def report(self, number: int, epoch: int, **metrics: float) -> None:
        named = {name.replace("_", "/"): value for name, value in metrics.items()}
        self.ledger.report(number, epoch, 10 * epoch, named)

    def end(self, number: int, state: State, cause: str = "", message: str = "", **metrics: float) -> None:
        named = {name.replace("_", "/"): value for name, value in metrics.items()}
        self.ledger.end(number, state, named, cause, message)
        trial = self.folder.trial(number)
        status = replace(trial.status(), state=state, cause=cause, message=message, metrics=named, ended=now())
        trial.write_status(status)

    def trial(self, number: int, state: State, accuracy: float, cause: str = "", message: str = "") -> None:
        """Write a whole trial of a few epochs."""
        self.begin(
            number, training__optimizer__lr=10 ** -(1 + number % 5) * 3, architecture__hidden=[64] * (number % 3)
        )
        epochs = 10 if state is State.SUCCEEDED else 1 + number % 4
        for epoch in range(1, epochs + 1):
            self.report(number, epoch, accuracy_val=accuracy * (epoch / epochs), loss_train=1 / epoch)
        if state.final:
            results = {"accuracy_val": accuracy, "accuracy_test": accuracy - 0.01, "loss_val": 1 - accuracy}
            self.end(number, state, cause, message, **(results if state is State.SUCCEEDED else {}))


@pytest.fixture
def make_sweep(make_run: Callable[..., RunFolder]) -> Iterator[Callable[..., Trials]]:
    """Make a sweep's folder: `make_sweep("digits-00000001", status, trials=40)`."""
    made: list[Trials] = []

    def make(run_id: str = "digits-00000001", status: RunStatus | None = None, **facts: Any) -> Trials:
        job = facts.pop("job", None)
        folder = make_run(run_id, status, tracking_uri="", **({"job": job} if job else {}))
        paths = ("training.optimizer.lr", "architecture.hidden")
        known = {"metric": "accuracy/val", "direction": "max", "trials": 40, "parallel": 4, "paths": paths}
        made.append(Trials(folder, SweepFacts(**{**known, **facts})))
        return made[-1]

    yield make
    for sweep in made:
        sweep.ledger.close()


@pytest.fixture
def drive() -> Iterator[Callable[[RunFolder], Driver]]:
    """Give a run a living driver."""
    drivers: list[Driver] = []

    def start(folder: RunFolder) -> Driver:
        drivers.append(Driver(folder))
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.kill()
        for stream in (driver.process.stdin, driver.process.stdout):
            assert stream
            stream.close()
