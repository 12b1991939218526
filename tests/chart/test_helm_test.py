"""The run that `helm test` submits; tests/cluster starts it."""

import subprocess

import pytest

from stoker.jobfile.loading import parse_job


@pytest.fixture
def found(render):
    """Return the objects of the run's test, by kind."""
    return {each["kind"]: each for each in render() if each["metadata"]["name"] == "team-test-run"}


def test_permissions_of_a_submitter_exist_only_for_the_test(found):
    assert found.keys() == {"ServiceAccount", "RoleBinding", "Job"}
    for each in found.values():
        annotations = each["metadata"]["annotations"]
        assert annotations["helm.sh/hook"] == "test"
        assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
    weights = {each["kind"]: int(each["metadata"]["annotations"]["helm.sh/hook-weight"]) for each in found.values()}
    assert weights["ServiceAccount"] <= weights["RoleBinding"] < weights["Job"]
    assert found["RoleBinding"]["roleRef"]["name"] == "stoker-submitter"


def test_the_pod_submits_a_valid_job(found):
    pod = found["Job"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "team-test-run"
    script = pod["containers"][0]["command"][-1]
    text = script.partition("<<'JOB'\n")[2].partition("\nJOB\n")[0]
    job = parse_job(text, "job.yaml").job
    assert (job.name, job.dataset.source, job.training.epochs) == ("helm-test", "iris", 1)
    checked = subprocess.run(["sh", "-n"], input=script, capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
