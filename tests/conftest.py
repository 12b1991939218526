"""What tests of several folders share: jobs from a few words, real public data, and KubeRay's own schemas."""

import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings
from tests.kuberay import Refusals
from tests.samples.datasets import write_samples
from tests.samples.models import write_model

from stoker.job.job import Job
from stoker.job.task import TASKS

PUBLIC_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def make_job() -> Callable[..., Job]:
    """Make a job: `make_job("tabular-classification", "iris", training={"epochs": 2})`."""

    def make(task: str, dataset: Any, **sections: Any) -> Job:
        return Job.model_validate({"task": task, "dataset": dataset, **sections})

    return make


@pytest.fixture(scope="session")
def public_data() -> Callable[[str], Path]:
    """Find a file of the public datasets; the test is skipped where they are absent."""

    def find(name: str) -> Path:
        path = PUBLIC_DATA / name
        if not path.exists():
            pytest.skip(f"the public dataset {name} is not on this machine")
        return path

    return find


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """Write 60 samples that a task can learn from; return the `dataset` section that reads them."""
    folder = tmp_path_factory.mktemp("tiny")
    written: dict[str, dict[str, Any]] = {}

    def dataset(task: Any) -> dict[str, Any]:
        if task not in written:
            place = folder / task
            place.mkdir()
            written[task] = {**write_samples(TASKS[task], place), "split": {"train": 0.7, "val": 0.15, "test": 0.15}}
        return written[task]

    return dataset


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Write a random model of a type of transformers, with a tokenizer of the words of `tiny_data`; return its folder.

    A name such as `bert-still` is the same without dropout inside.
    """
    folder = tmp_path_factory.mktemp("models")

    def model(name: str) -> Path:
        if not (folder / name).exists():
            write_model(folder / name, *name.split("-"))
        return folder / name

    return model


def pytest_configure() -> None:
    """Take Ctrl-C as a terminal sends it, which a shell in the background ignores; compute with one thread.

    Examples of hypothesis have no deadline, which one of them misses now and then on a busy machine.
    """
    settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("busy machine")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)  # several processes run tests, and their threads would wait for each other


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a process, a thread or a changed environment behind."""
    environment, threads = _environment(), set(threading.enumerate())
    by_libraries = {name: value for name, value in os.environ.items() if name.startswith(SET_BY_LIBRARIES)}
    yield
    for name in [name for name in os.environ if name.startswith(SET_BY_LIBRARIES)]:
        del os.environ[name]
    os.environ.update(by_libraries)
    assert _environment() == environment, "the environment of the process was changed"
    deadline = time.monotonic() + ENDING_S
    while left := [*_processes_of(request.node.nodeid), *_threads_since(threads)]:
        assert time.monotonic() < deadline, f"still running after the test: {', '.join(left)}"
        time.sleep(0.05)


ENDING_S = 20.0
"""How long a process may take to end after its test, such as a driver that puts Ray away."""


SET_BY_LIBRARIES = ("CRC32C_", "KMP_", "MLFLOW_", "_MLFLOW_", "TORCHINDUCTOR_", "RAY_", "TUNE_")
"""Variables by which libraries are told, and tell their child processes, what to do; taken back after each test."""


def _environment() -> dict[str, str]:
    ignored = ("PYTEST_CURRENT_TEST", *SET_BY_LIBRARIES)
    return {name: value for name, value in os.environ.items() if not name.startswith(ignored)}


def _processes_of(test: str) -> Iterator[str]:
    """Name the processes that a test has started itself, rather than a fixture that others share."""
    mark = f"PYTEST_CURRENT_TEST={test} (call)".encode()
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark in entry.read_bytes().split(b"\0") and int(entry.parent.name) != os.getpid():
                command = (entry.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if command and not any(helper in command for helper in HELPERS):
                    yield f"process {entry.parent.name} ({command[:100].strip()})"


HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
"""Processes that Python starts once, and keeps for whoever comes next."""


def _threads_since(before: set[threading.Thread]) -> Iterator[str]:
    for thread in set(threading.enumerate()) - before:
        if thread.is_alive() and not thread.daemon and not thread.name.startswith("Mlflow"):
            yield f"thread {thread.name}"


@pytest.fixture(scope="session")
def mlflow_tables(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    """Put an MLflow store without runs at a path: MLflow takes seconds to make its tables."""
    template = tmp_path_factory.mktemp("tables") / "mlflow.db"

    def put(path: Path) -> None:
        if not template.exists():
            from mlflow import MlflowClient

            MlflowClient(f"sqlite:///{template}").search_experiments()
        shutil.copyfile(template, path)

    return put


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute with one thread: sums in another order are other sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """An S3 server over HTTP, by its URL."""
    from moto.server import ThreadedMotoServer  # a second to import, for the tests of buckets alone

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # no line for each request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def client(s3_server: str) -> Any:
    """A client of the S3 server, made once: it takes half a second."""
    import boto3

    keys = {"aws_access_key_id": "somebody", "aws_secret_access_key": "something", "region_name": "us-east-1"}
    return boto3.session.Session(**keys).client("s3", endpoint_url=s3_server)


@pytest.fixture(scope="session")
def kuberay() -> Callable[[Any], list[str]]:
    """List what KubeRay's own schema refuses in a manifest, unknown fields included; skipped where it is absent."""
    return Refusals()
