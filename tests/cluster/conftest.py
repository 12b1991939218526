"""A real cluster, with the chart in it: whatever KUBECONFIG names.

STOKER_TEST_NAMESPACE names the chart's namespace (default: stoker). The tests delete what they make there and nothing
else; those of outages restart parts of the cluster, and run where STOKER_TEST_SIGNAL is a command that can: it is
called with a component's name and a signal's.
"""

import base64
import json
import os
import shlex
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config

from stoker.clusters.kubernetes.api import KubeApi
from stoker.clusters.kubernetes.cluster import KubernetesCluster
from stoker.settings import ClusterSettings, load_settings
from stoker.tracking.run_folder import RunFolder

NAMESPACE = os.environ.get("STOKER_TEST_NAMESPACE", "stoker")
SMALL = ("--set", "resources.memory=2GiB")
"""Of the jobs here, so that a small machine carries them; the cores of a worker are those of the chart's values."""
LONG = """
name: long
task: image-classification
architecture: {family: mlp, hidden: [64]}
dataset: digits
training: {epochs: 1200, batch_size: 64, precision: fp32, checkpoint: {every: 50 steps}}
"""
ROOT = Path(__file__).parents[2]
DEADLINE_S = 280.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.timeout(600))


class Home:
    """A user's machine: a home folder and a config file, and the commands that are typed there."""

    def __init__(self, path: Path, **keys: str) -> None:
        self.path = path / "home"
        self.namespace = NAMESPACE
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("STOKER_", "MLFLOW_"))},
            "STOKER_HOME": str(self.path),
            "XDG_CONFIG_HOME": str(path / "config"),
            "NO_COLOR": "1",
        }
        file = path / "config" / "stoker" / "config.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(yaml.safe_dump({"cluster": "test", "clusters": {"test": {"namespace": NAMESPACE, **keys}}}))

    def stoker(self, *arguments: str, code: int | None = 0) -> str:
        """Type a command; return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "stoker.cli.main", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        assert code is None or done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def json(self, *arguments: str, code: int | None = 0) -> Any:
        return json.loads(self.stoker(*arguments, "-o", "json", code=code))

    def submit(self, job: str | Path, *arguments: str) -> str:
        """Submit a job and let go of it; return the run's id."""
        return str(self.json("submit", str(job), *SMALL, *arguments, "--detach")["id"])

    def status(self, run: str) -> Any:
        return self.json("status", run)

    def going(self, run: str) -> Any:
        """Status of a run that must not end yet."""
        shown = self.status(run)
        assert shown["state"] not in ("SUCCEEDED", "FAILED", "CANCELLED", "INTERRUPTED"), shown
        return shown

    def going_or_succeeded(self, run: str) -> bool:
        """Return whether a run has succeeded; it must not end in another way."""
        return bool(self.status(run)["state"] == "SUCCEEDED" or not self.going(run))

    def folder(self, run: str) -> RunFolder:
        return RunFolder(self.path / "runs" / run)


@pytest.fixture(scope="session")
def api() -> Any:
    """The API server, as its administrator sees it."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG names no cluster")
    config.load_kube_config()
    return client.CoreV1Api()


@pytest.fixture(scope="session")
def objects(api: Any) -> Any:
    return client.CustomObjectsApi()


@pytest.fixture
def home(tmp_path: Path, api: Any, objects: Any) -> Iterator[Home]:
    """A home whose runs are gone from the cluster with the test."""
    made = Home(tmp_path)
    yield made
    for folder in made.path.glob("runs/*"):
        delete(objects, folder.name)


@pytest.fixture
def another_home(tmp_path: Path, home: Home) -> Home:
    return Home(tmp_path / "another")


@pytest.fixture
def cluster(home: Home) -> KubernetesCluster:
    """The same cluster, as a program has it."""
    settings = load_settings(environment=home.environment)
    return KubernetesCluster(settings, settings.clusters["test"])


@pytest.fixture(scope="session")
def kube() -> KubeApi:
    return KubeApi(ClusterSettings("test", namespace=NAMESPACE))


@pytest.fixture
def job(tmp_path: Path) -> Callable[[str], Path]:
    """Write a job file."""

    def write(text: str, name: str = "job.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.fixture
def profile(api: Any) -> Iterator[Callable[..., None]]:
    """Change settings of the profile until the test ends."""
    before = api.read_namespaced_config_map("stoker-profile", NAMESPACE).data["profile.yaml"]

    def change(**keys: Any) -> None:
        text = yaml.safe_dump({**yaml.safe_load(before), **keys})
        api.patch_namespaced_config_map("stoker-profile", NAMESPACE, {"data": {"profile.yaml": text}})

    yield change
    api.patch_namespaced_config_map("stoker-profile", NAMESPACE, {"data": {"profile.yaml": before}})


@pytest.fixture
def signal() -> Callable[[str, str], None]:
    """Stop or continue a part of the cluster."""
    command = os.environ.get("STOKER_TEST_SIGNAL")
    if not command:
        pytest.skip("STOKER_TEST_SIGNAL names no command that stops parts of the cluster")

    def send(component: str, name: str) -> None:
        subprocess.run([*shlex.split(command), component, name], check=True)

    return send


def delete(objects: Any, run: str) -> None:
    try:
        objects.delete_namespaced_custom_object("ray.io", "v1", NAMESPACE, "rayjobs", run)
    except client.ApiException as error:
        if error.status != 404:
            raise


@pytest.fixture
def until() -> Callable[..., Any]:
    """Wait until something holds, and return it."""

    def wait(holds: Callable[[], Any], what: str, timeout_s: float = DEADLINE_S) -> Any:
        deadline = time.monotonic() + timeout_s
        while not (found := holds()):
            assert time.monotonic() < deadline, f"no {what} after {timeout_s:.0f} s"
            time.sleep(1)
        return found

    return wait


@pytest.fixture
def mlflow(cluster: KubernetesCluster) -> Callable[..., Any]:
    """Ask the cluster's MLflow, as REST calls: `mlflow("runs/get", run_id=...)`; searches have a body."""

    def ask(method: str, body: dict[str, Any] | None = None, **query: str) -> Any:
        with cluster.tracking() as (address, user, password):
            login = base64.b64encode(f"{user}:{password}".encode()).decode()
            url = f"{address}/api/2.0/mlflow/{method}?{urllib.parse.urlencode(query)}"
            headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
            request = urllib.request.Request(url, json.dumps(body).encode() if body else None, headers)
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read())

    return ask


@pytest.fixture
def steps_of(mlflow: Callable[..., Any]) -> Callable[[str, str], list[int]]:
    """List the steps at which a run has a metric in the cluster's MLflow, in their order there."""

    def steps(run: str, key: str) -> list[int]:
        found: list[int] = []
        more = {"page_token": ""}
        while True:
            answer = mlflow("metrics/get-history", run_id=run, metric_key=key, max_results="25000", **more)
            found += [int(point["step"]) for point in answer.get("metrics", [])]
            if not answer.get("next_page_token"):
                return found
            more = {"page_token": answer["next_page_token"]}

    return steps


@pytest.fixture
def children(mlflow: Callable[..., Any]) -> Callable[[str], dict[str, str]]:
    """Find the pages of a sweep's trials below its own, by the trials' ids."""

    def find(parent: str) -> dict[str, str]:
        experiment = mlflow("runs/get", run_id=parent)["run"]["info"]["experiment_id"]
        below = f"tags.`mlflow.parentRunId` = '{parent}'"
        answer = mlflow("runs/search", {"experiment_ids": [experiment], "filter": below, "max_results": 1000})
        found = [(run["info"]["run_name"], run["info"]["run_id"]) for run in answer.get("runs", [])]
        assert len(dict(found)) == len(found)
        return dict(found)

    return find


@pytest.fixture
def long_job(job: Callable[[str], Path]) -> Path:
    """Write a job that trains for half a minute and more."""
    return job(LONG)


@pytest.fixture
def namespace() -> str:
    return NAMESPACE


@pytest.fixture
def jobs() -> Path:
    """The folder of the job files that ship."""
    return ROOT / "jobs"
