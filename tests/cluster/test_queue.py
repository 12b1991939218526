"""Kueue gives runs their turn: a quota for one of them, and priorities."""

import pytest
from kubernetes import client

TINY = "name: tiny\ntask: tabular-classification\ndataset: iris\ntraining: {epochs: 2}\n"
QUOTA = {"cpu": "1", "memory": "6Gi"}


@pytest.fixture
def queue(api, objects, namespace, until):
    """A queue with a quota for one run, and a priority above the usual one."""
    served = {version.version for group in client.ApisApi().get_api_versions().groups for version in group.versions
              if group.name == "kueue.x-k8s.io"}  # fmt: skip
    if not served:
        pytest.skip("there is no Kueue on the cluster")
    version = "v1beta2" if "v1beta2" in served else "v1beta1"
    flavor = {"name": "stoker-test", "resources": [{"name": k, "nominalQuota": v} for k, v in QUOTA.items()]}
    cohort = {
        "namespaceSelector": {},
        "preemption": {"withinClusterQueue": "LowerPriority"},
        "resourceGroups": [{"coveredResources": list(QUOTA), "flavors": [flavor]}],
    }
    wide = {
        "resourceflavors": {"kind": "ResourceFlavor", "spec": {}},
        "clusterqueues": {"kind": "ClusterQueue", "spec": cohort},
        "workloadpriorityclasses": {"kind": "WorkloadPriorityClass", "value": 100},
    }
    head = {"apiVersion": f"kueue.x-k8s.io/{version}", "metadata": {"name": "stoker-test"}}
    group = ("kueue.x-k8s.io", version)
    for plural, body in wide.items():
        objects.create_cluster_custom_object(*group, plural, {**head, **body})
    local = {**head, "kind": "LocalQueue", "spec": {"clusterQueue": "stoker-test"}}
    objects.create_namespaced_custom_object(*group, namespace, "localqueues", local)
    yield "stoker-test"
    objects.delete_namespaced_custom_object(*group, namespace, "localqueues", "stoker-test")
    for plural in reversed(wide):
        objects.delete_cluster_custom_object(*group, plural, "stoker-test")


@pytest.mark.slow
def test_runs_take_turns_and_a_higher_priority_goes_first(home, queue, steps_of, long_job, job, until):
    place = ("--set", f"resources.queue={queue}")
    first = home.submit(long_job, *place)
    until(lambda: home.going(first)["checkpoint_step"] > 100, "a checkpoint")
    second = home.submit(job(TINY), *place)
    until(lambda: home.going(second)["state"] == "QUEUED" and home.going(second)["message"], "place in the queue", 30)
    assert "insufficient" in home.going(second)["message"]
    urgent = home.submit(job(TINY), *place, "--set", "resources.priority=stoker-test")
    until(lambda: home.going(first)["state"] == "QUEUED", "preemption", 60)
    before = home.going(first)["checkpoint_step"]
    assert home.json("wait", urgent)["state"] == "SUCCEEDED"
    until(lambda: home.going(first)["state"] == "RUNNING", "return of the first")
    assert home.json("wait", first)["state"] == "SUCCEEDED"
    assert home.status(first)["attempt"] == 2
    assert home.status(first)["checkpoint_step"] > before > 100
    steps = steps_of(home.status(first)["mlflow_run"], "loss/val")
    assert len(steps) == len(set(steps)) == 1200
    assert home.json("wait", second)["state"] == "SUCCEEDED"
