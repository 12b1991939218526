"""What somebody in the cluster sees who has no login."""

import json

import pytest

PROBE = """
import json, socket, sys, urllib.error, urllib.request
head, mlflow = sys.argv[1:]

def ask(url, host=None, method="GET", login=None):
    request = urllib.request.Request(url, method=method)
    if host:
        request.add_header("Host", host)
    if login:
        request.add_header("Authorization", "Basic " + login)
    try:
        return urllib.request.urlopen(request, timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code

def client():
    import ray
    try:
        ray.init(f"ray://{head}:10001", logging_level="error")
    except BaseException as error:
        return type(error).__name__
    return "connected"

seen = {
    "jobs": ask(f"http://{head}:8265/api/jobs/"),
    "nodes": ask(f"http://{head}:8265/nodes?view=summary"),
    "delete": ask(f"http://{head}:8265/api/jobs/x", method="DELETE"),
    "experiments": ask(f"{mlflow}/api/2.0/mlflow/experiments/search?max_results=1"),
    "pages": ask(f"{mlflow}/ajax-api/2.0/mlflow/experiments/search?max_results=1"),
    "artifacts": ask(f"{mlflow}/api/2.0/mlflow-artifacts/artifacts?path="),
    "old password": ask(f"{mlflow}/api/2.0/mlflow/experiments/search?max_results=1", login="YWRtaW46cGFzc3dvcmQxMjM0"),
    "foreign host": ask(f"{mlflow}/api/2.0/mlflow/experiments/search?max_results=1", host="evil.example.com"),
    "client": client(),
}
print(json.dumps(seen))
"""


@pytest.fixture
def outsider(api, kube, until):
    """Run a program in a pod of another namespace; return what it printed last."""
    made = []

    def run(program, *arguments):
        container = {
            "name": "probe",
            "image": kube.profile().image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python", "-c", program, *arguments],
            "env": [{"name": "HOME", "value": "/tmp"}, {"name": "RAY_AUTH_MODE", "value": "disabled"}],
        }
        spec = {"restartPolicy": "Never", "containers": [container]}
        pod = api.create_namespaced_pod("default", {"metadata": {"generateName": "probe-"}, "spec": spec})
        made.append(pod.metadata.name)

        def over():
            return api.read_namespaced_pod(pod.metadata.name, "default").status.phase in ("Succeeded", "Failed")

        until(over, "end of the probe", 120)
        return api.read_namespaced_pod_log(pod.metadata.name, "default").splitlines()[-1]

    yield run
    for name in made:
        api.delete_namespaced_pod(name, "default")


@pytest.mark.slow
def test_nobody_without_a_login_gets_anything(home, kube, long_job, namespace, outsider, until):
    run = home.submit(long_job)
    until(lambda: home.going(run)["checkpoint_step"], "a checkpoint")
    (head,) = kube.pods(f"stoker.dev/run={run},ray.io/node-type=head")
    seen = json.loads(outsider(PROBE, head.status.pod_ip, kube.profile().tracking_uri))
    assert seen.pop("client") != "connected"
    assert seen.pop("foreign host") in (401, 403)
    assert set(seen.values()) == {401}, seen
    assert home.status(run)["state"] == "RUNNING"
