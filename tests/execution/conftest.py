"""Real runs from the command line, each in its own home."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stoker.storage import open_storage
from stoker.tracking.run import RunHeader
from stoker.tracking.run_folder import RunFolder

SOURCE = Path(__file__).parents[2] / "platform"
DEADLINE_S = 240.0
RAY = """
import sys
from stoker.execution.engines.table import LIBRARIES
from stoker.execution.ray_session import embedded_ray
with embedded_ray(cpus=4, libraries=LIBRARIES):
    import os, ray
    print(ray.get_runtime_context().gcs_address, os.environ["RAY_AUTH_TOKEN"], flush=True)
    sys.stdin.read()
"""


class Home:
    """A home folder and the command line for it."""

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
        """Return a run's folder."""
        return RunFolder(self.path / "runs" / run_id)

    def logs(self) -> str:
        """Return the ends of the runs' logs, for the message of a failed test."""
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in self.path.glob("runs/*/log.txt"))


def write_job(path: Path, text: str) -> Path:
    """Write a job file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def wait_until(condition: Callable[[], bool], what: str, deadline_s: float = 60.0) -> None:
    """Poll until a condition holds."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"waited {deadline_s:g} s for {what}"
        time.sleep(0.1)


@pytest.fixture
def home(tmp_path: Path, mlflow_tables: Callable[[Path], None]) -> Iterator[Home]:
    (tmp_path / "home").mkdir()
    mlflow_tables(tmp_path / "home" / "mlflow.db")
    home = Home(tmp_path / "home")
    yield home
    for run in map(RunFolder, home.path.glob("runs/*")):  # of a test that failed
        if (pid := run.driver_pid()) and run.has_driver():
            os.kill(pid, signal.SIGTERM)


def server_answers(address: str) -> bool:
    """Return whether a server on this machine is up."""
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
    return wait_until


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
    """One complete run of a network on images, in the embedded store; all processes of the tests only read it."""
    folder = tmp_path_factory.getbasetemp()
    base = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "digits"
    base.mkdir(exist_ok=True)
    home = Home(base / "home")
    with (base / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the first process makes it
        if not (base / "id").exists():
            home.path.mkdir()
            (base / "id").write_text(home.json("submit", write_job(base / "job.yaml", DIGITS))["id"])
    return home, home.run((base / "id").read_text())


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[dict[str, str]]:
    """Start an independent Ray, and return its address."""
    head = subprocess.Popen(
        [sys.executable, "-c", RAY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    assert head.stdout
    assert head.stdin
    address, token = head.stdout.readline().split()
    yield {"RAY_ADDRESS": address, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    head.stdin.close()
    head.wait(60)
    head.stdout.close()


class RunEnvironment:
    """One run with its inputs, storage and tracking; its homes are temporary."""

    def __init__(self, base: Path, ray: dict[str, str], run: str, job: str, code: dict[str, str]) -> None:
        self.base, self.run = base, run
        self.inputs = RunFolder(base / "inputs")
        for name, text in code.items():
            (base / name).write_text(text)
        header = RunHeader(run, "far", "tabular-classification", "custom", "breast-cancer", 1.0, 1, "", "far")
        self.inputs.create(header, job, {name: base / name for name in code})
        self.tracking = f"sqlite:///{base / 'mlflow.db'}"
        self.storage = open_storage(str(base / "storage" / self.run))
        self._ray = ray

    def folder(self, home: str) -> RunFolder:
        return RunFolder(self.base / home / "runs" / self.run)

    def start(self, home: str, **environment: str) -> "subprocess.Popen[str]":
        places = {"STOKER_HOME": str(self.base / home), "STOKER_STORAGE": str(self.base / "storage")}
        return subprocess.Popen(
            [sys.executable, "-m", "stoker.execution.entrypoint", "--inputs", str(self.inputs.path)],
            cwd=self.base,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={
                **os.environ,
                **self._ray,
                **places,
                "MLFLOW_TRACKING_URI": self.tracking,
                "PYTHONPATH": str(SOURCE),
                **environment,
            },
        )


@pytest.fixture
def run_environment(
    ray_cluster: dict[str, str], mlflow_tables: Callable[[Path], None]
) -> Callable[[Path, str, str, dict[str, str]], RunEnvironment]:
    """Create the environment of a run on the current Ray: its folder, id, job, and the user's own modules."""

    def make(base: Path, run: str, job: str, code: dict[str, str]) -> RunEnvironment:
        mlflow_tables(base / "mlflow.db")
        return RunEnvironment(base, ray_cluster, run, job, code)

    return make
