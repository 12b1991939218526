"""Why a run does not begin, in words and in time; and who is not let in."""

import copy
import os
from pathlib import Path

import pytest
import yaml
from kubernetes import client

IN_TIME_S = 15
TINY = "name: tiny\ntask: tabular-classification\ndataset: iris\ntraining: {epochs: 1}\n"


@pytest.fixture
def kubeconfig(tmp_path, home):
    """Let the home's commands use another user, server or context."""

    def write(user=None, server=None):
        content = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
        content = copy.deepcopy(content)
        if user:
            content["users"][0]["user"] = user
        if server:
            content["clusters"][0]["cluster"] = {"server": server}
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(content))
        home.environment["KUBECONFIG"] = str(path)

    return write


@pytest.fixture
def account(api, namespace):
    """Make a service account; return its token."""
    made = []

    def make(name, role=None):
        api.create_namespaced_service_account(namespace, {"metadata": {"name": name}})
        made.append(name)
        if role:
            body = {
                "metadata": {"name": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
            }
            client.RbacAuthorizationV1Api().create_namespaced_role_binding(namespace, body)
        return api.create_namespaced_service_account_token(name, namespace, {"spec": {}}).status.token

    yield make
    for name in made:
        api.delete_namespaced_service_account(name, namespace)
        try:
            client.RbacAuthorizationV1Api().delete_namespaced_role_binding(name, namespace)
        except client.ApiException as error:
            if error.status != 404:
                raise


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("resources.memory=900GiB", ("Insufficient memory", "lower resources")),
        ("environment.image=nowhere.example.com/none:1", ("its image", "see environment.image")),
        ("resources.accelerator=H900", ("cannot be scheduled", "lower resources")),
    ],
)
def test_a_run_that_cannot_start_shows_the_reason(home, job, until, change, words):
    run = home.submit(job(TINY), "--set", change)
    message = until(lambda: home.going(run)["message"], "reason", IN_TIME_S)
    for word in words:
        assert word in message
    assert home.status(run)["state"] == "PROVISIONING"
    home.stoker("wait", run, "--timeout", "1s", code=5)
    assert "CANCELLED" in home.stoker("cancel", run)


def test_a_secret_that_is_missing_is_named(home, job, kube, profile, until):
    profile(environment_secrets=[*kube.profile().environment_secrets, "no-such-secret"])
    with pytest.raises(AssertionError, match="can mount the Secrets, claims"):
        home.submit(job(TINY))
    profile(pod={"volumes": [{"name": "home", "configMap": {"name": "no-such-map"}}]})
    run = home.submit(job(TINY))
    message = until(lambda: home.going(run)["message"], "reason", IN_TIME_S)
    assert "no-such-map" in message
    assert "administrator" in message


def test_a_quota_that_refuses_the_pods_is_named_in_time(home, job, api, namespace, until):
    body = {"metadata": {"name": "stoker-test"}, "spec": {"hard": {"count/pods": "0"}}}
    api.create_namespaced_resource_quota(namespace, body)
    try:
        run = home.submit(job(TINY))
        message = until(lambda: home.going(run)["message"], "reason", IN_TIME_S)
    finally:
        api.delete_namespaced_resource_quota("stoker-test", namespace)
    assert "exceeded quota: stoker-test" in message
    assert "ask the cluster's administrator for more quota" in message


LOST_MOUNT = {"name": "ray-worker", "volumeMounts": [{"name": "dta", "mountPath": "/data"}]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"volumes": [{"name": "data", "emptyDir": {}}], "containers": [LOST_MOUNT]}, 'Not found: "dta"'),
        ({"containers": [{"name": "proxy"}]}, "containers[1].image: Required value"),
        ({"tolerations": [{"operator": "Sometimes"}]}, "tolerations[0].operator: "),
    ],
)
def test_a_mistake_in_the_administrators_pod_is_refused_at_submit(home, job, profile, change, words):
    profile(pod=change)
    message = home.stoker("submit", str(job(TINY)), "--detach", code=1)
    assert words in message
    assert "PodTemplate" in message


def test_a_queue_or_priority_that_does_not_exist_is_refused(home, job):
    message = home.stoker("submit", str(job(TINY)), "--set", "resources.queue=nowhere", "--detach", code=2)
    assert "has no queue 'nowhere'" in message


def test_packages_that_cannot_be_had_are_told_in_time_and_end_the_run(home, job, until):
    run = home.submit(job(TINY + "environment: {packages: [no-such-package]}\n"))
    until(lambda: "could not be installed" in home.going(run)["message"], "reason", 30)
    shown = home.json("wait", run, code=None)
    assert (shown["state"], shown["cause"]) == ("FAILED", "INTERNAL")
    assert "its packages could not be installed: its nodes cannot reach the Python package index" in shown["message"]


def test_a_wrong_namespace_or_context_is_said(home, job):
    file = Path(home.environment["XDG_CONFIG_HOME"]) / "stoker" / "config.yaml"
    file.write_text("cluster: test\nclusters: {test: {namespace: nowhere}}\n")
    assert "install the chart there, or name another namespace" in home.stoker("submit", str(job(TINY)), code=3)
    file.write_text("cluster: test\nclusters: {test: {kube_context: nowhere}}\n")
    assert "name a context of your kubeconfig" in home.stoker("submit", str(job(TINY)), code=1)
    assert not list(home.path.glob("runs/*"))


def test_a_user_without_permission_is_referred_to_the_administrator(home, job, kubeconfig, account):
    kubeconfig(user={"token": account("nobody")})
    assert "ask its administrator for the role stoker-submitter" in home.stoker("submit", str(job(TINY)), code=4)


def test_a_token_that_is_not_valid_any_more_is_said(home, job, kubeconfig):
    kubeconfig(user={"token": "expired"})
    assert "log in to the cluster again" in home.stoker("submit", str(job(TINY)), code=4)


def test_a_cluster_that_does_not_answer_is_said(home, job, kubeconfig):
    kubeconfig(server="https://127.0.0.1:1")
    assert "cluster 'test' does not answer" in home.stoker("submit", str(job(TINY)), code=4)


@pytest.mark.slow
def test_the_charts_role_is_enough_for_a_submitter(home, job, kubeconfig, account):
    kubeconfig(user={"token": account("somebody", role="stoker-submitter")})
    run = home.submit(job(TINY), "--key", "role")
    assert home.json("wait", run)["state"] == "SUCCEEDED"
    assert home.stoker("events", run)
    assert "accuracy" in home.stoker("evaluate", run)
    home.stoker("kill", run, code=3)
    assert "taken" in home.stoker("cluster", "add", "test", code=2)
    added = home.json("cluster", "add", "again", "--namespace", home.namespace)
    assert added["name"] == "again"
