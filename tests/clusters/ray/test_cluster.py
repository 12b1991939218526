"""Runs on a standing Ray, which these tests start: a head of its own, with a token and ports that nobody else has."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from stoker.clusters import verbs
from stoker.clusters.new_run import Origin
from stoker.clusters.polling import poll
from stoker.clusters.ray.cluster import RayCluster, merged_log
from stoker.clusters.ray.jobs_api import JobsApi
from stoker.errors import ClusterError, JobError, NotFound, Unreachable
from stoker.jobfile.loading import parse_job
from stoker.settings import RayClusterSettings, Settings, load_settings
from stoker.tracking.run import RunHeader, State
from stoker.tracking.run_folder import RunFolder

SOURCE = Path(__file__).parents[3] / "platform"
PORTS = (
    "port",
    "dashboard-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "metrics-export-port",
    "runtime-env-agent-port",
    "ray-client-server-port",
    "node-manager-port",
    "object-manager-port",
)
CPUS = 3
READY_S = 120.0
DEADLINE_S = 150.0
JOB = """
name: far
task: tabular-classification
dataset: iris
training: {epochs: 80, batch_size: 32, checkpoint: {every: 1 epoch}}
resources: {workers: 1, gpus: 0}
"""
OWN = """
architecture: {family: custom, class: "own:Network"}
environment: {env: {HIDDEN: "8"}}
"""
NETWORK = """
import os
import time

from torch import nn


class Network(nn.Sequential):
    def __init__(self):
        print("here it is built")
        hidden = int(os.environ["HIDDEN"])
        super().__init__(nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, 3))

    def forward(self, batch):
        time.sleep(0.03)  # so that it can be asked to rest on its way
        return super().forward(batch)
"""


@dataclass
class Head:
    """A Ray that stands."""

    base: Path
    settings: RayClusterSettings
    token: str
    process: "subprocess.Popen[bytes]"

    def drivers(self) -> list[psutil.Process]:
        """Find the drivers of its jobs."""
        below = psutil.Process(self.process.pid).children(recursive=True)
        return [each for each in below if {"stoker.execution.entrypoint", "-m"} <= set(_command(each))]


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _command(process: psutil.Process) -> list[str]:
    """Return the command of a process; empty where it has ended, whether or not its parent knows."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def wait_until(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {deadline_s:g} s for {what}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory, mlflow_tables: Callable[[Path], None]) -> Iterator[Head]:
    base = tmp_path_factory.mktemp("head")
    mlflow_tables(base / "mlflow.db")
    session = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # short: socket paths below it have 107 bytes
    token, ports = secrets.token_hex(16), dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "STOKER_", "MLFLOW_"))}
    own = {
        "HOME": str(base),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(SOURCE),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_worker_niceness": "0",
    }
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--num-cpus={CPUS}"]
    command += ["--dashboard-host=127.0.0.1", f"--temp-dir={session}", "--object-store-memory=100000000"]
    command += ["--min-worker-port=0", "--max-worker-port=0", *(f"--{name}={port}" for name, port in ports.items())]
    log = (base / "head.log").open("wb")
    process = subprocess.Popen(command, env={**kept, **own}, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{ports['dashboard-port']}"
    cluster = RayClusterSettings("lab", address, str(base / "storage"), f"sqlite:///{base / 'mlflow.db'}")
    try:
        wait_until(lambda: answers(JobsApi(cluster, {"RAY_AUTH_TOKEN": token})), "the head", READY_S)
        yield Head(base, cluster, token, process)
    finally:
        below = psutil.Process(process.pid).children(recursive=True)
        for each in (process, *below):
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait(30)
        psutil.wait_procs(below, timeout=10)
        log.close()
        shutil.rmtree(session, ignore_errors=True)


def answers(api: JobsApi) -> bool:
    try:
        return "ALIVE" in str(api.get("/api/v0/nodes"))
    except ClusterError:
        return False


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return load_settings(str(tmp_path / "home"), environment={"XDG_CONFIG_HOME": str(tmp_path)})


@pytest.fixture
def cluster(head: Head, home: Settings, monkeypatch: pytest.MonkeyPatch) -> RayCluster:
    monkeypatch.setenv("RAY_AUTH_TOKEN", head.token)
    return RayCluster(home, head.settings)


def parse(text: str):
    return parse_job(text, "far.yaml").job


def untracked():
    return parse(JOB + "tracking: none\n")


def await_state(cluster: RayCluster, folder: RunFolder, state: State) -> None:
    def there() -> bool:
        record = cluster.refresh(folder)
        assert record.state is state or not record.state.final, f"{record.status}\n{folder.log.read_text()}"
        return record.state is state

    try:
        wait_until(there, state)
    finally:
        cluster.fetch_log(folder)


def test_a_run_goes_there_with_its_code_rests_when_asked_and_comes_to_its_end(head, cluster, tmp_path):
    (tmp_path / "own.py").write_text(NETWORK)
    folder = cluster.submit(parse(JOB + OWN), Origin(code=tmp_path))
    header = folder.header()
    assert (header.cluster, header.storage) == ("lab", head.settings.storage)
    wait_until(lambda: cluster.refresh(folder).status.checkpoint_step > 0, "a checkpoint")
    verbs.pause(cluster, folder)
    await_state(cluster, folder, State.PAUSED)
    rested, printed = folder.status(), folder.log.read_bytes()
    with pytest.raises(NotFound, match="nothing to pause"):
        verbs.pause(cluster, folder)

    verbs.resume(cluster, folder)
    *_, last = poll(cluster, folder)
    assert last.state is State.SUCCEEDED, (last.status, folder.log.read_text())
    assert (last.status.attempt, last.status.started, last.status.checkpoint_epoch) == (2, rested.started, 80)
    assert last.status.metrics["accuracy/test"] >= 0
    assert folder.progress().epoch == 80
    assert folder.log.read_bytes().startswith(printed)
    assert folder.log.read_bytes().count(b"here it is built") > printed.count(b"here it is built") > 0
    page = MlflowClient(head.settings.tracking_uri).get_run(last.status.mlflow_run)
    assert page.info.status == "FINISHED"
    assert (Path(header.storage) / header.id / "state.json").exists()
    assert list((head.base / ".stoker-driver" / "runs").iterdir()) == []
    with pytest.raises(NotFound, match="nothing to cancel"):
        verbs.cancel(cluster, folder)
    with pytest.raises(NotFound, match="has succeeded"):
        verbs.resume(cluster, folder)


def test_submit_returns_at_once_and_cancel_is_carried_out_by_the_driver(cluster):
    began = time.monotonic()
    folder = cluster.submit(untracked())
    assert time.monotonic() - began < 2
    wait_until(lambda: cluster.refresh(folder).status.started > 0, "the driver's first word")
    assert verbs.cancel(cluster, folder) == ""
    assert not folder.status().state.ended
    await_state(cluster, folder, State.CANCELLED)
    assert folder.status().exit_code == 1


def test_a_run_whose_driver_is_killed_is_interrupted_and_may_be_given_up(head, cluster):
    folder = cluster.submit(untracked())
    wait_until(lambda: cluster.refresh(folder).status.started > 0, "the driver's first word")
    for process in head.drivers():
        process.send_signal(signal.SIGKILL)
    await_state(cluster, folder, State.INTERRUPTED)
    assert folder.status().message == "its driver is gone"
    verbs.cancel(cluster, folder)
    assert cluster.refresh(folder).state is State.CANCELLED


def test_a_killed_run_is_over_and_its_driver_gone(head, cluster):
    folder = cluster.submit(untracked())
    wait_until(lambda: cluster.refresh(folder).status.started > 0, "the driver's first word")
    drivers = head.drivers()
    for process in drivers:
        process.send_signal(signal.SIGSTOP)  # it hears no request
    assert verbs.kill(cluster, folder) == ""
    assert folder.record().state is State.CANCELLED
    wait_until(lambda: not any(_command(process) for process in drivers), "the end of the driver")
    jobs = JobsApi(head.settings, {"RAY_AUTH_TOKEN": head.token})
    (job,) = [each for each in jobs.get("/api/jobs/") if folder.path.name in str(each["submission_id"])]
    verbs.remove(cluster, folder)
    assert jobs.get(f"/api/jobs/{job['submission_id']}") is None
    assert not folder.path.exists()


def test_a_run_that_has_not_begun_ends_at_once(cluster):
    folder = cluster.submit(parse(JOB))
    assert verbs.cancel(cluster, folder) == ""  # it has no page that would have to be told
    assert cluster.refresh(folder).state is State.CANCELLED


def test_a_run_unknown_to_ray_is_interrupted(cluster):
    header = RunHeader("far-1", "far", "t", "f", "d", 1.0, 1, "", "", cluster="lab")
    folder = RunFolder(cluster.settings.home / "runs" / header.id)
    folder.create(header, JOB)
    record = cluster.refresh(folder)
    assert (record.state, "head node was restarted" in record.status.message) == (State.INTERRUPTED, True)
    cluster.fetch_log(folder)
    assert not folder.log.exists()


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        ({"workers": CPUS + 1}, ["resources.workers"]),
        ({"gpus": 1}, ["resources.workers"]),
        ({"memory": "900GiB"}, ["resources.workers"]),
        ({"queue": "team", "priority": "high"}, ["resources.queue", "resources.priority"]),
    ],
)
def test_what_the_cluster_never_has_is_refused_before_anything_is_made(change, keys, cluster):
    asked = parse(JOB)
    asked = asked.model_copy(update={"resources": asked.resources.model_copy(update=change)})
    with pytest.raises(JobError) as refused:
        cluster.submit(asked)
    assert [problem.path for problem in refused.value.problems] == keys
    assert not cluster.settings.home.exists()


def test_without_the_right_token_nothing_is_asked(head, home, monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "another")
    with pytest.raises(ClusterError, match=r"rejects the token from RAY_AUTH_TOKEN.*ask its administrator"):
        RayCluster(home, head.settings).submit(parse(JOB))
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ClusterError, match="asks for Ray's token; set RAY_AUTH_TOKEN"):
        RayCluster(home, head.settings).submit(parse(JOB))
    (tmp_path / "token").write_text(head.token + "\n")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    with pytest.raises(JobError, match="the cluster holds"):
        RayCluster(home, head.settings).submit(parse(JOB.replace("workers: 1", f"workers: {CPUS + 1}")))


def test_submitting_to_an_unreachable_cluster_fails_without_creating_files(home):
    (port,) = free_ports(1)
    silent = RayClusterSettings("lab", f"http://127.0.0.1:{port}", "/storage", "http://mlflow:5000")
    with pytest.raises(Unreachable, match=f"cluster 'lab' does not answer at http://127.0.0.1:{port}"):
        RayCluster(home, silent).submit(parse(JOB))
    assert not home.home.exists()


def test_a_tracked_job_requires_a_tracking_uri(home):
    with pytest.raises(ClusterError, match=r"has no tracking_uri in .*config.yaml"):
        RayCluster(home, RayClusterSettings("lab", "http://127.0.0.1:1", "/storage")).submit(parse(JOB))


def test_logs_of_several_jobs_of_a_run_follow_each_other():
    first, second = b"10:00 begins\na\nb\n", b"11:00 begins\nc\n"
    assert merged_log(b"", first) == first
    assert merged_log(b"10:00 begins\na\n", first) == first
    assert merged_log(first, second) == first + second
    assert merged_log(first + b"11:00 begins\n", second) == first + second


def test_the_client_loads_neither_torch_nor_ray_nor_mlflow():
    heavy = ("torch", "ray", "mlflow", "kubernetes", "pandas", "numpy")
    script = f"import sys, stoker.clusters.ray.cluster; print([m for m in {heavy} if m in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    shown = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
