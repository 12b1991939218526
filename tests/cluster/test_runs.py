"""Whole runs on the cluster."""

import pytest

NOTICED_S = 8
SHORT = ("--set", "training.epochs=6", "--set", "training.precision=fp32")


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_the_cnn_scores_as_it_does_on_this_machine_and_its_model_is_registered(home, mlflow, jobs, workers):
    name = f"digits-test-{workers}"
    more = ("--set", f"resources.workers={workers}", "--set", f"tracking.register={name}")
    run = home.submit(jobs / "vision" / "digits-cnn.yaml", *SHORT, *more)
    assert home.json("wait", run)["state"] == "SUCCEEDED"
    shown = home.status(run)
    local = home.json("submit", str(jobs / "vision" / "digits-cnn.yaml"), *SHORT, "--cluster", "local")
    assert shown["metrics"] == pytest.approx(local["metrics"], abs=0.03)
    versions = mlflow("model-versions/search", filter=f"name='{name}'")["model_versions"]
    assert shown["mlflow_run"] in [version["run_id"] for version in versions]
    assert "accuracy" in home.stoker("evaluate", run)
    assert "worker 0" not in home.stoker("logs", run, "--rank", "1")


@pytest.mark.slow
def test_two_workers_in_one_pod_agree_with_two_pods_to_the_bit(home, jobs, kube, mlflow, until):
    found = []
    for each in (1, 2):
        more = ("--set", "resources.workers=2", "--set", f"resources.workers_per_node={each}")
        run = home.submit(jobs / "vision" / "digits-cnn.yaml", *SHORT, *more)
        until(lambda run=run: home.going(run)["state"] == "RUNNING", "a start")
        workers = kube.pods(f"stoker.dev/run={run},ray.io/node-type=worker")
        assert len(workers) == 2 // each
        assert home.json("wait", run)["state"] == "SUCCEEDED"
        shown = home.status(run)
        history = mlflow("metrics/get-history", run_id=shown["mlflow_run"], metric_key="loss/step")["metrics"]
        found.append((shown["metrics"], [(metric["step"], metric["value"]) for metric in history]))
    assert found[0] == found[1]
    (container,) = workers[0]["spec"]["containers"]
    [volume] = [mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == "/dev/shm"]
    [source] = [each["emptyDir"] for each in workers[0]["spec"]["volumes"] if each["name"] == volume]
    assert source["medium"] == "Memory"


@pytest.mark.slow
def test_a_worker_pod_that_is_taken_away_leaves_a_checkpoint(home, steps_of, kube, api, long_job, namespace, until):
    never = ("--set", "training.checkpoint.every=100000 steps")
    run = home.submit(long_job, "--set", "resources.workers=2", *never)
    until(lambda: home.going(run)["progress"]["step"] > 100, "some steps")
    assert not home.status(run)["checkpoint_step"]
    worker = kube.pods(f"stoker.dev/run={run},ray.io/node-type=worker")[0]
    api.delete_namespaced_pod(worker["metadata"]["name"], namespace)
    until(lambda: home.going(run)["attempt"] == 2 and home.going(run)["state"] == "RUNNING", "another attempt")
    shown = home.status(run)
    assert shown["checkpoint_step"] > 100
    assert "is being taken away; its step is saved" in shown["failures"][0]
    assert home.json("wait", run)["state"] == "SUCCEEDED"
    steps = steps_of(home.status(run)["mlflow_run"], "loss/val")
    assert len(steps) == len(set(steps)) == 1200


@pytest.mark.slow
def test_a_killed_worker_and_a_killed_head_cost_no_metric(
    home, mlflow, steps_of, kube, api, long_job, namespace, until
):
    run = home.submit(long_job, "--set", "resources.workers=2")
    until(lambda: home.going(run)["checkpoint_step"] > 100, "a checkpoint")
    worker = kube.pods(f"stoker.dev/run={run},ray.io/node-type=worker")[0]
    api.delete_namespaced_pod(worker["metadata"]["name"], namespace, grace_period_seconds=0)
    shown = until(lambda: (now := home.going(run))["state"] == "RETRYING" and now, "word of the loss", NOTICED_S)
    assert shown["message"].startswith("lost 1 of 2 worker pods")
    assert "waiting for a new worker pod" in shown["message"]
    assert shown["progress"]["step"] == shown["checkpoint_step"] > 100
    until(lambda: home.going(run)["attempt"] == 2 and home.going(run)["state"] == "RUNNING", "another attempt")
    before = home.status(run)["checkpoint_step"]
    until(lambda: home.going(run)["checkpoint_step"] > before, "its first checkpoint")
    (head,) = kube.pods(f"stoker.dev/run={run},ray.io/node-type=head")
    api.delete_namespaced_pod(head["metadata"]["name"], namespace, grace_period_seconds=0)
    shown = until(lambda: (now := home.going(run))["state"] == "RETRYING" and now, "word of the loss", NOTICED_S)
    assert shown["message"].startswith("lost its head")
    steps = []
    until(lambda: steps.append(home.going(run)["progress"]["step"]) or home.status(run)["attempt"] == 3, "a new driver")
    assert min(steps) >= before
    assert home.json("wait", run)["state"] == "SUCCEEDED"
    shown = home.status(run)
    assert shown["attempt"] == 3
    steps = steps_of(shown["mlflow_run"], "loss/val")
    assert len(steps) == len(set(steps)) == 1200
    assert mlflow("runs/get", run_id=shown["mlflow_run"])["run"]["info"]["status"] == "FINISHED"


@pytest.mark.slow
def test_an_elastic_run_goes_on_without_a_lost_node_and_grows_when_one_comes_back(
    home, steps_of, kube, api, long_job, namespace, until
):
    run = home.submit(long_job, "--set", "resources.workers={min: 1, max: 2}", "--set", "training.epochs=2200")
    until(lambda: home.going(run)["workers"] == "2 of 1 to 2", "both workers")
    until(lambda: home.going(run)["checkpoint_step"] > 100, "a checkpoint")
    workers = kube.pods(f"stoker.dev/run={run},ray.io/node-type=worker")
    assert len(workers) == 2
    node = workers[0]["spec"]["nodeName"]
    cordon(api, node, True)
    try:
        api.delete_namespaced_pod(workers[0]["metadata"]["name"], namespace, grace_period_seconds=0)
        until(lambda: home.going(run)["workers"] == "1 of 1 to 2", "one worker", 60)
        before = home.status(run)["progress"]["step"]
        until(lambda: home.going(run)["progress"]["step"] > before + 500, "many more steps", 60)
        assert home.status(run)["state"] == "RUNNING"
    finally:
        cordon(api, node, False)
    until(lambda: home.going(run)["workers"] == "2 of 1 to 2", "both workers again")
    assert home.json("wait", run)["state"] == "SUCCEEDED"
    steps = steps_of(home.status(run)["mlflow_run"], "loss/val")
    assert len(steps) == len(set(steps)) == 2200


FAULTY = """
import os

from torch import nn


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, numbers):
        if os.environ["FAULT"] == "device":
            raise RuntimeError("CUDA error: uncorrectable ECC error encountered")
        return self.layer(numbers)
"""


@pytest.mark.slow
def test_a_node_with_a_broken_device_gets_no_pod_of_the_run_again(home, job, kube, until):
    file = job("""
        name: faulty
        task: tabular-classification
        architecture: {family: custom, class: "faulty:Network"}
        dataset: iris
        environment: {env: {FAULT: device}}
    """)
    file.with_name("faulty.py").write_text(FAULTY)
    run = home.submit(file)
    (left_out,) = until(lambda: home.status(run)["left_out"], "a node to be left out")
    node = left_out.partition(":")[0]

    def waiting():
        pods = kube.pods(f"stoker.dev/run={run},ray.io/node-type=worker")
        return [pod for pod in pods if pod["status"]["phase"] == "Pending" and "nodeName" not in pod["spec"]]

    (pod,) = until(waiting, "a pod that is not placed there")
    (term,) = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert term["matchFields"] == [{"key": "metadata.name", "operator": "NotIn", "values": [node]}]
    assert "uncorrectable ECC error" in home.stoker("status", run)
    home.stoker("cancel", run)
    assert home.json("wait", run, code=1)["state"] == "CANCELLED"


def cordon(api, node, unschedulable):
    """Keep new pods away from a node, or let them on it again."""
    api.patch_node(node, {"spec": {"unschedulable": unschedulable}})


@pytest.mark.slow
def test_the_users_own_network_goes_along(home, jobs):
    run = home.submit(jobs / "own-code" / "digits-custom.yaml", "--set", "training.epochs=2")
    assert home.json("wait", run)["state"] == "SUCCEEDED"
