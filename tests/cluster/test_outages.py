"""Parts of the cluster are away for a while during a run."""

import time
import urllib.request
from itertools import pairwise

import pytest
from kubernetes import client

from stoker.clusters.kubernetes.api import is_ready

MLFLOW = "app.kubernetes.io/component=mlflow"
OPERATOR = "app.kubernetes.io/component=kuberay-operator"
TIMED = """
name: timed
task: image-classification
architecture: {family: mlp, hidden: [64]}
dataset: digits
training: {time: 5 min, epochs: null, batch_size: 64, precision: fp32, checkpoint: {every: 50 steps}}
"""


@pytest.fixture
def apps(api):
    return client.AppsV1Api()


@pytest.mark.slow
def test_operator_mlflow_and_api_server_go_and_come_while_a_run_trains(
    home, steps_of, api, apps, job, namespace, until, signal
):
    run = home.submit(job(TIMED))
    until(lambda: home.going(run)["checkpoint_step"] > 100, "a checkpoint")
    operators = api.list_pod_for_all_namespaces(label_selector=OPERATOR).items
    assert operators
    for pod in operators:
        api.delete_namespaced_pod(pod.metadata.name, pod.metadata.namespace)
    (server,) = apps.list_namespaced_deployment(namespace, label_selector="app.kubernetes.io/name=stoker").items
    apps.patch_namespaced_deployment_scale(server.metadata.name, namespace, {"spec": {"replicas": 0}})
    signal("kube-apiserver", "STOP")
    time.sleep(60)
    signal("kube-apiserver", "CONT")
    time.sleep(60)
    until(lambda: _scaled(apps, server, namespace), "MLflow")
    before = home.status(run)
    assert (before["state"], before["attempt"]) == ("RUNNING", 1)
    assert home.json("wait", run)["state"] == "SUCCEEDED"
    shown = home.status(run)
    assert shown["attempt"] == 1
    until(lambda: _up(apps, server, namespace), "MLflow")
    steps = steps_of(shown["mlflow_run"], "loss/val")
    assert len(steps) == len(set(steps))
    assert max(steps) == shown["progress"]["step"]
    distances = [later - earlier for earlier, later in pairwise(sorted(steps))]
    assert len(set(distances[:-1])) == 1  # an epoch each; the time may end within the last


@pytest.mark.slow
def test_a_tunnel_leads_to_the_next_pod_of_mlflow(cluster, api, namespace, until):
    with cluster.tracking() as (address, *_):
        for _ in range(2):
            with urllib.request.urlopen(f"{address}/health", timeout=90) as answer:
                assert answer.status == 200
            (pod,) = api.list_namespaced_pod(
                namespace, label_selector=MLFLOW, field_selector="status.phase=Running"
            ).items
            api.delete_namespaced_pod(pod.metadata.name, namespace, grace_period_seconds=0)
    until(lambda: [each for each in cluster.api.pods(MLFLOW) if is_ready(each)], "MLflow")


def _scaled(apps, server, namespace):
    try:
        apps.patch_namespaced_deployment_scale(server.metadata.name, namespace, {"spec": {"replicas": 1}})
    except client.ApiException:
        return False
    return True


def _up(apps, server, namespace):
    return apps.read_namespaced_deployment(server.metadata.name, namespace).status.ready_replicas == 1
