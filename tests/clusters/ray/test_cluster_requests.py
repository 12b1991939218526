"""The client's side of a run on a Ray cluster, against a dashboard of a few lines; the real one is in test_cluster."""

import io
import json
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from stoker.clusters import verbs
from stoker.clusters.ray.cluster import RayCluster
from stoker.errors import ClusterError, NotFound
from stoker.execution.contract import REOPEN, STATUS, request_package
from stoker.jobfile.loading import parse_job
from stoker.settings import RayClusterSettings
from stoker.tracking.run import RunStatus, State

JOB = "name: far\ntask: tabular-classification\ndataset: iris\ntracking: none\nresources: {workers: 1, gpus: 0}\n"


class Dashboard(ThreadingHTTPServer):
    """Jobs and packages of one cluster with one node."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.jobs: dict[str, dict] = {}
        self.packages: dict[str, bytes] = {}
        self.logs: dict[str, str] = {}
        self.refuses = ""

    def reports(self, job: str, state: str, report: RunStatus | None = None) -> None:
        """Set the state of a job, and what its driver has reported."""
        self.jobs[job]["status"] = state
        if report:
            self.jobs[job]["metadata"][STATUS] = json.dumps(asdict(report))

    def request(self, job: str) -> str:
        return self.packages.get(request_package(job), b"").decode()


class Handler(BaseHTTPRequestHandler):
    server: Dashboard

    def do_GET(self) -> None:
        server, parts = self.server, self.path.split("/")
        if self.path.startswith("/api/v0/nodes"):
            node = {"state": "ALIVE", "resources_total": {"CPU": 4.0, "memory": 2.0**34}}
            self.answer({"data": {"result": {"result": [node]}}})
        elif "packages" in parts:
            self.answer({} if parts[-1] in server.packages else None)
        elif parts[-1] == "logs":
            self.answer({"logs": server.logs.get(parts[-2], "")})
        else:
            self.answer(server.jobs.get(parts[-1]))

    def do_PUT(self) -> None:
        self.server.packages[self.path.rpartition("/")[2]] = self.body()
        self.answer({})

    def do_POST(self) -> None:
        server, body = self.server, json.loads(self.body())
        if server.refuses:
            self.answer(server.refuses, 500)
        elif self.path.endswith("/stop"):
            server.jobs[self.path.split("/")[-2]]["status"] = "STOPPED"
            self.answer({"stopped": True})
        else:
            server.jobs[body["submission_id"]] = {**body, "status": "PENDING"}
            self.answer({"submission_id": body["submission_id"]})

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def answer(self, content: object, code: int = 200) -> None:
        text = b"it does not exist" if content is None else json.dumps(content).encode()
        self.send_response(404 if content is None else code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    with Dashboard() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def cluster(dashboard, settings):
    return RayCluster(settings, RayClusterSettings("lab", dashboard.address, "s3://runs"))


@pytest.fixture
def run(cluster):
    return cluster.submit(parse_job(JOB, "far.yaml").job)


def test_a_submitted_run_is_a_job_with_its_inputs(dashboard, cluster, run):
    job = dashboard.jobs[run.path.name]
    package = dashboard.packages[job["runtime_env"]["working_dir"].removeprefix("gcs://")]
    assert zipfile.ZipFile(io.BytesIO(package)).namelist() == ["inputs/job.yaml", "inputs/run.json"]
    assert cluster.refresh(run).state is State.PROVISIONING
    dashboard.reports(run.path.name, "RUNNING", RunStatus(State.RUNNING, attempt=1))
    assert cluster.refresh(run).state is State.RUNNING


def test_a_run_that_the_cluster_refuses_leaves_nothing(dashboard, cluster):
    dashboard.refuses = "no"
    with pytest.raises(ClusterError, match="refuses"):
        cluster.submit(parse_job(JOB, "far.yaml").job)
    assert list(cluster.settings.home.glob("runs/*")) == []


def test_a_driver_that_has_reported_reads_requests(dashboard, cluster, run):
    name = run.path.name
    dashboard.reports(name, "RUNNING", RunStatus(State.RUNNING, attempt=1))
    verbs.pause(cluster, run)
    assert dashboard.request(name) == "pause"
    assert verbs.cancel(cluster, run) == ""
    assert (dashboard.request(name), dashboard.jobs[name]["status"]) == ("cancel", "RUNNING")
    assert not run.status().state.ended


def test_a_job_whose_driver_has_not_reported_is_stopped(dashboard, cluster, run):
    assert verbs.cancel(cluster, run) == ""
    assert (dashboard.request(run.path.name), dashboard.jobs[run.path.name]["status"]) == ("cancel", "STOPPED")
    assert run.status().state is State.CANCELLED
    with pytest.raises(NotFound, match="nothing to cancel"):
        verbs.cancel(cluster, run)


def test_a_kill_stops_the_job_of_a_driver_that_reads_nothing(dashboard, cluster, run):
    dashboard.reports(run.path.name, "RUNNING", RunStatus(State.RUNNING, attempt=1))
    assert verbs.kill(cluster, run) == ""
    assert dashboard.jobs[run.path.name]["status"] == "STOPPED"
    assert run.status().state is State.CANCELLED


def test_a_restart_is_another_job_and_keeps_the_log(dashboard, cluster, run):
    name = run.path.name
    dashboard.logs[name] = "10:00 first\n"
    dashboard.reports(name, "SUCCEEDED", RunStatus(State.PAUSED, attempt=1, checkpoint_step=9))
    verbs.resume(cluster, run)
    restart = run.status().reopened
    job = dashboard.jobs[f"{name}-{restart}"]
    assert job["runtime_env"]["env_vars"][REOPEN] == restart
    dashboard.logs[f"{name}-{restart}"] = "11:00 second\n"
    cluster.fetch_log(run)
    assert run.log.read_text() == "10:00 first\n11:00 second\n"
    assert cluster.refresh(run).status.checkpoint_step == 9
    with pytest.raises(NotFound, match="its driver is alive"):
        verbs.resume(cluster, run)


def test_a_refused_restart_leaves_the_run_as_it_was(dashboard, cluster, run):
    dashboard.reports(run.path.name, "SUCCEEDED", RunStatus(State.FAILED, cause="HANG", attempt=1))
    before = cluster.refresh(run).status
    dashboard.refuses = "no"
    with pytest.raises(ClusterError, match="refuses"):
        verbs.resume(cluster, run)
    assert run.status() == before
