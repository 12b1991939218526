"""Runs without a queue that get in each other's way."""

import pytest

JOB = """
name: wide
task: tabular-classification
dataset: iris
training: {epochs: 2}
resources: {workers: 2}
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_runs_that_hold_what_the_other_needs_both_end(home, job, kube, api, profile, until):
    (node,) = api.list_node().items
    free = float(node.status.allocatable["cpu"]) - used_cpus(api)
    # Two heads and two workers fit, but no third worker; a run needs a head and two workers.
    share = round(free / 4.5, 2)
    profile(pending_limit_s=110, head={"cpus": share, "memory": "2GiB"}, worker={"cpus": share, "memory": "1GiB"})
    runs = [home.submit(job(JOB), "--set", "resources.memory=1GiB") for _ in range(2)]
    told = until(
        lambda: [text for run in runs if "gives its pods back" in (text := home.status(run)["message"])], "word"
    )
    assert "cannot be scheduled" in told[0]
    for run in runs:
        until(lambda run=run: home.going_or_succeeded(run), "end", 900)


def used_cpus(api):
    """Cores that the pods of the cluster have asked for."""
    pods = [pod for pod in api.list_pod_for_all_namespaces().items if pod.status.phase in ("Running", "Pending")]
    asked = [each.resources.requests or {} for pod in pods for each in pod.spec.containers if each.resources]
    return sum(cores(each["cpu"]) for each in asked if "cpu" in each)


def cores(quantity):
    return float(quantity.removesuffix("m")) / 1000 if quantity.endswith("m") else float(quantity)
