"""Real runs, each in a home of its own, through the command line as a user types it."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stoker.tracking.record import RunFolder

SOURCE = Path(__file__).parents[2] / "platform"
DEADLINE_S = 240.0


class Home:
    """A home folder and the command line that works in it."""

    def __init__(self, path: Path, **environment: str) -> None:
        self.path = path
        foreign = ("MLFLOW_", "RAY_", "STOKER_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        self.environment = {
            **kept,
            "STOKER_HOME": str(path),
            "XDG_CONFIG_HOME": str(path / "config"),
            "PYTHONPATH": str(SOURCE),
            **environment,
        }

    def stoker(self, *arguments: object, succeeds: bool = True) -> str:
        """Run a command to its end and return what it printed."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "stoker.cli.main", *map(str, arguments)],
            env=self.environment,
            cwd=self.path.parent,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        assert (done.returncode == 0) is succeeds, (
            f"exit {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
        )
        return done.stdout if succeeds else done.stderr

    def json(self, *arguments: object) -> Any:
        """Run a command and parse its JSON."""
        return json.loads(self.stoker(*arguments, "-o", "json"))

    def run(self, run_id: str) -> RunFolder:
        """Name a run's folder."""
        return RunFolder(self.path / "runs" / run_id)

    def logs(self) -> str:
        """Gather the ends of the runs' logs, for the message of a failed test."""
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in self.path.glob("runs/*/log.txt"))


def write_job(path: Path, text: str) -> Path:
    """Write a job file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def await_that(condition: Callable[[], bool], what: str, deadline_s: float = 60.0) -> None:
    """Poll until something holds."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"waited {deadline_s:g} s for {what}"
        time.sleep(0.1)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "home").mkdir()
    return Home(tmp_path / "home")


def server_answers(address: str) -> bool:
    """Ask a server on this machine whether it is up."""
    try:
        urllib.request.urlopen(address, timeout=2).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="session")
def answers() -> Callable[[str], bool]:
    return server_answers


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def until() -> Callable[..., None]:
    return await_that


@pytest.fixture
def job_file(tmp_path: Path) -> Callable[[str], Path]:
    return lambda text: write_job(tmp_path / "job.yaml", text)


DIGITS = """
name: digits
task: image-classification
architecture: {family: cnn, channels: [16, 32]}
dataset: {source: digits, split: {train: 0.7, val: 0.1, test: 0.2}}
training: {epochs: 12, batch_size: 64, precision: fp32, optimizer: {type: adamw, lr: 1e-2}}
tracking: {experiment: figures, register: digit-reader}
"""


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, RunFolder]:
    """One whole run of a network on pictures, in the embedded store; tests only read it."""
    base = tmp_path_factory.mktemp("digits")
    home = Home(base / "home")
    home.path.mkdir()
    submitted = home.json("submit", write_job(base / "job.yaml", DIGITS))
    return home, home.run(submitted["id"])
