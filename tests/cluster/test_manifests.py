"""What we send, checked by the API server against KubeRay's own schema: unknown fields are refused."""

import pytest

from stoker.clusters.new_run import Origin
from stoker.errors import ClusterError
from stoker.jobfile.loading import parse_job

JOB = "name: checked\ntask: image-classification\ndataset: digits\n"


@pytest.mark.parametrize(
    "more",
    [
        "",
        "resources: {workers: 4, gpus: 1, cpus: 1, memory: 64GiB, accelerator: H200, retries: 5, timeout: 2 h}\n",
        "environment: {image: 'mine:2', packages: [einops], env: {A: b}, pod: {nodeSelector: {zone: a}}}\n",
        "tracking: none\n",
    ],
)
def test_the_api_server_takes_every_kind_of_job(cluster, more):
    rayjob, inputs, _ = cluster.render(parse_job(JOB + more, "checked.yaml").job, Origin())
    cluster.api.dry_run(rayjob)
    assert len(inputs) == 1


def test_a_field_unknown_to_kuberay_is_refused(cluster):
    rayjob, _, _ = cluster.render(parse_job(JOB, "checked.yaml").job, Origin())
    rayjob["spec"]["rayClusterSpec"]["headGroupSpec"]["templat"] = {}
    with pytest.raises(ClusterError, match="unknown field"):
        cluster.api.dry_run(rayjob)
