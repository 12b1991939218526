"""The chart on a real cluster: installed, tested, upgraded and removed.

STOKER_TEST_CHART is the chart, without the dependency where the operator is there already.
"""

import json
import os
import shutil
import subprocess
import urllib.request
from base64 import b64encode
from pathlib import Path

import pytest

from stoker.clusters.kubernetes.api import KubeApi
from stoker.settings import ClusterSettings

VALUES = Path(__file__).with_name("values.yaml")
PLACE = "stoker-chart-test"


def helm(*arguments, fails=False):
    done = subprocess.run(["helm", *arguments, "--namespace", PLACE], capture_output=True, text=True, timeout=400)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def chart(api, until):
    folder = os.environ.get("STOKER_TEST_CHART")
    if not folder or not shutil.which("helm"):
        pytest.skip("STOKER_TEST_CHART names no chart, or there is no helm")
    api.create_namespace({"metadata": {"name": PLACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}})
    yield folder
    api.delete_namespace(PLACE)
    until(lambda: PLACE not in [each.metadata.name for each in api.list_namespace().items], "end of the namespace", 120)


@pytest.fixture
def ask(until):
    """Ask the MLflow of a release."""

    def send(name, method, body=None):
        kube = KubeApi(ClusterSettings("test", namespace=PLACE))
        login = kube.secret(kube.profile().login_secret)
        words = f"{login['MLFLOW_TRACKING_USERNAME']}:{login['MLFLOW_TRACKING_PASSWORD']}"
        with kube.port_forward(name, PLACE, 5000) as port:
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/api/2.0/mlflow/{method}",
                json.dumps(body).encode() if body else None,
                {"Authorization": f"Basic {b64encode(words.encode()).decode()}", "Content-Type": "application/json"},
            )
            return json.loads(urllib.request.urlopen(request, timeout=30).read())

    return send


@pytest.mark.slow
def test_it_is_installed_tested_upgraded_and_removed_and_keeps_the_runs(chart, api, ask):
    notes = helm("install", "team", chart, "--values", str(VALUES), "--wait", "--timeout", "5m")
    assert f"stoker cluster add team --namespace {PLACE}" in notes
    assert "Succeeded" in helm("test", "team", "--timeout", "6m")
    assert ask("team-mlflow", "experiments/get-by-name?experiment_name=helm-test")["experiment"]
    assert "already" in helm("install", "second", chart, "--values", str(VALUES), fails=True)
    made = ask("team-mlflow", "experiments/create", {"name": "before"})["experiment_id"]
    password = api.read_namespaced_secret("team-mlflow-login", PLACE).data

    more = ("--set", "mlflow.resources.requests.cpu=110m", "--wait", "--timeout", "5m")
    helm("upgrade", "team", chart, "--values", str(VALUES), *more)
    assert api.read_namespaced_secret("team-mlflow-login", PLACE).data == password
    assert ask("team-mlflow", "experiments/get-by-name?experiment_name=before")["experiment"]["experiment_id"] == made

    assert "kept due to the resource policy" in helm("uninstall", "team", "--wait")
    left = [claim.metadata.name for claim in api.list_namespaced_persistent_volume_claim(PLACE).items]
    assert sorted(left) == ["team-mlflow", "team-runs"]
    left = [secret.metadata.name for secret in api.list_namespaced_secret(PLACE).items]
    assert sorted(left) == ["team-mlflow-login", "team-mlflow-runs-login"]
    assert not api.list_namespaced_service(PLACE).items
    maps = {each.metadata.name for each in api.list_namespaced_config_map(PLACE).items}
    assert maps == {"kube-root-ca.crt"}

    helm("install", "team", chart, "--values", str(VALUES), "--wait", "--timeout", "5m")
    assert ask("team-mlflow", "experiments/get-by-name?experiment_name=before")["experiment"]["experiment_id"] == made


def test_a_mistake_in_the_values_is_refused_before_anything_is_made(chart):
    said = helm("install", "team", chart, "--set", "mlfow.workers=2", fails=True)
    assert "mlfow" in said
