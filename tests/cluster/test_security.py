"""What somebody in the cluster sees who has no login."""

import copy
import json
import os
import urllib.error
from pathlib import Path

import pytest
import yaml
from kubernetes import client, config

from stoker.clusters.new_run import Origin
from stoker.execution.rayjob_channel import without_nodes
from stoker.jobfile.loading import load_job

APART = {
    "requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {}, "namespaceSelector": {}, "topologyKey": "kubernetes.io/hostname"}
    ]
}
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
WEIGHT = {"weight": 1, "preference": {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}}
GROUP = "/spec/workerGroupSpecs/0"
JSON_PATCH = "application/json-patch+json"
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
    seen = json.loads(outsider(PROBE, head["status"]["podIP"], kube.profile().tracking_uri))
    assert seen.pop("client") != "connected"
    assert seen.pop("foreign host") in (401, 403)
    assert set(seen.values()) == {401}, seen
    assert home.status(run)["state"] == "RUNNING"


TINY = "name: tiny\ntask: tabular-classification\ndataset: iris\ntraining: {epochs: 1}\n"
SESSION = "stoker-mlflow-session"


@pytest.fixture
def submit_changed(cluster, job, objects, namespace):
    """Have the server check a run's RayJob after a change of its pods, as somebody could send it without Stoker."""

    def send(change, whole=False):
        rayjob, *_ = cluster.render(load_job(job(TINY)).job, Origin())
        groups = rayjob["spec"]["rayClusterSpec"]
        change(rayjob["spec"] if whole else groups["headGroupSpec"]["template"]["spec"])
        objects.create_namespaced_custom_object("ray.io", "v1", namespace, "rayjobs", rayjob, dry_run="All")

    return send


def volume(pod, **source):
    pod["volumes"].append({"name": "more", **source})


def variable(pod, name):
    key = {"secretKeyRef": {"name": name, "key": "key"}}
    pod["containers"][0]["env"].append({"name": "MORE", "valueFrom": key})


def key_of(name):
    return {"valueFrom": {"secretKeyRef": {"name": name, "key": "key"}}}


OUTSIDE = "a run has a Ray cluster of its own"
CHANGES = {
    "no pod of its own": (lambda spec: spec.pop("submitterPodTemplate"), OUTSIDE),
    "another cluster": (lambda spec: spec.update(clusterSelector={"ray.io/cluster": "stoker-shared"}), OUTSIDE),
    "an autoscaler": (
        lambda spec: spec["rayClusterSpec"].update(enableInTreeAutoscaling=True, autoscalerOptions={"image": "mine"}),
        OUTSIDE,
    ),
    "a password of a store": (
        lambda spec: spec["rayClusterSpec"].update(
            gcsFaultToleranceOptions={"redisAddress": "r", "redisPassword": key_of(SESSION)}
        ),
        OUTSIDE,
    ),
    "a public service": (
        lambda spec: spec["rayClusterSpec"]["headGroupSpec"].update(serviceType="LoadBalancer"),
        OUTSIDE,
    ),
    "a server of files": (
        lambda pod: volume(pod, nfs={"server": "10.0.0.1", "path": "/"}),
        "can mount the Secrets",
    ),
    "a Secret as a volume": (lambda pod: volume(pod, secret={"secretName": SESSION}), "can mount the Secrets"),
    "a Secret in a projection": (
        lambda pod: volume(pod, projected={"sources": [{"secret": {"name": SESSION}}]}),
        "can mount the Secrets",
    ),
    "a Secret as a variable": (lambda pod: variable(pod, SESSION), "can read the Secrets"),
    "a Secret as many variables": (
        lambda pod: pod["containers"][0].update(envFrom=[{"secretRef": {"name": SESSION}}]),
        "can read the Secrets",
    ),
    "MLflow's volume": (
        lambda pod: volume(pod, persistentVolumeClaim={"claimName": "stoker-mlflow"}),
        "can mount the Secrets, claims",
    ),
    "a folder of the node": (lambda pod: volume(pod, hostPath={"path": "/"}), "can mount the Secrets"),
    "the node's network": (lambda pod: pod.update(hostNetwork=True), "cannot use the network"),
    "another account": (
        lambda pod: pod.update(serviceAccountName="stoker-mlflow"),
        "use the service account stoker-job",
    ),
    "a Secret for images": (lambda pod: pod.update(imagePullSecrets=[{"name": SESSION}]), "can pull images"),
}


def test_a_run_as_stoker_renders_it_is_accepted(submit_changed):
    submit_changed(lambda pod: None)


@pytest.mark.parametrize("change", CHANGES)
def test_a_rayjob_cannot_give_its_submitter_more_than_the_chart_does(submit_changed, change):
    edit, words = CHANGES[change]
    with pytest.raises(client.ApiException) as error:
        submit_changed(edit, whole=words == OUTSIDE)
    assert error.value.status == 422
    assert words in json.loads(error.value.body)["message"]


@pytest.mark.slow
def test_a_driver_can_change_its_own_run_only(home, kube, api, long_job, namespace, until):
    runs = [home.submit(long_job) for _ in range(2)]

    def head_of(run):
        return next(iter(kube.pods(f"stoker.dev/run={run},ray.io/node-type=head")), None)

    head = until(lambda: head_of(runs[0]), "a head")["metadata"]
    bound = {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": head["name"], "uid": head["uid"]}}
    token = api.create_namespaced_service_account_token("stoker-job", namespace, {"spec": bound}).status.token
    drivers = client.CustomObjectsApi(as_user(token))

    def patch(run, body):
        return drivers.patch_namespaced_custom_object("ray.io", "v1", namespace, "rayjobs", run, body)

    note = {"metadata": {"annotations": {"stoker.dev/status": "{}"}}, "spec": {"backoffLimit": 1}}
    assert patch(runs[0], note)["spec"]["backoffLimit"] == 1
    for run, body in ((runs[1], note), (runs[0], {"spec": {"entrypoint": "sleep 1"}})):
        with pytest.raises(client.ApiException) as error:
            patch(run, body)
        assert "a driver changes its own run only" in error.value.body

    def patch_cluster(run, body):
        (name,) = until(lambda: [pod["metadata"]["labels"]["ray.io/cluster"] for pod in heads_of(run)], "a Ray cluster")
        return drivers.patch_namespaced_custom_object(
            "ray.io", "v1", namespace, "rayclusters", name, body, _content_type=JSON_PATCH
        )

    def heads_of(run):
        return kube.pods(f"stoker.dev/run={run},ray.io/node-type=head")

    def replicas(number):
        return [{"op": "replace", "path": f"{GROUP}/replicas", "value": number}]

    def replaced(pod):
        return [{"op": "add", "path": f"{GROUP}/scaleStrategy", "value": {"workersToDelete": [pod]}}]

    def template(path, value):
        return [{"op": "add", "path": f"{GROUP}/template/{path}", "value": value}]

    assert patch_cluster(runs[0], replicas(1))["spec"]["workerGroupSpecs"][0]["replicas"] == 1
    elsewhere = without_nodes({}, ["no-such-node"])
    changed = patch_cluster(runs[0], template("spec/affinity", elsewhere))["spec"]["workerGroupSpecs"][0]
    assert changed["template"]["spec"]["affinity"] == elsewhere
    (cluster,) = [pod["metadata"]["labels"]["ray.io/cluster"] for pod in heads_of(runs[0])]
    assert patch_cluster(runs[0], replaced(f"{cluster}-no-such-pod"))
    image = "/spec/headGroupSpec/template/spec/containers/0/image"
    for run, body in (
        (runs[1], replicas(1)),
        (runs[0], replicas(2)),  # its job names one worker
        (runs[0], [{"op": "replace", "path": image, "value": "localhost/busybox:v1"}]),
        (runs[0], [{"op": "add", "path": "/spec/enableInTreeAutoscaling", "value": True}]),
        (runs[0], replaced("stoker-mlflow-0")),
        (runs[0], template("spec/hostPID", True)),
        (runs[0], template("spec/resources", {"requests": {"cpu": "100"}})),
        (runs[0], template("spec/affinity", {"podAntiAffinity": APART})),
        (runs[0], template("spec/affinity", {**elsewhere, "nodeAffinity": {PREFERRED: [WEIGHT]}})),
        (runs[0], template("spec/nodeName", "no-such-node")),
        (runs[0], template("metadata/labels/more", "labels")),
        (runs[0], template("spec/containers/0/env/-", {"name": "MORE", "value": "1"})),
    ):
        with pytest.raises(client.ApiException) as error:
            patch_cluster(run, body)
        assert "a driver changes the number of its own run's worker pods, up to" in error.value.body


def as_user(token):
    """A client of the same cluster with another token."""
    content = copy.deepcopy(yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text()))
    content["users"][0]["user"] = {"token": token}
    return config.new_client_from_config_dict(content)


def test_the_login_of_runs_cannot_administer_mlflow(mlflow):
    made = mlflow("experiments/create", {"name": f"made-{os.urandom(4).hex()}"})["experiment_id"]
    for method, body in (
        ("users/create", {"username": "another", "password": "another-password"}),
        ("users/update-admin", {"username": "runs", "is_admin": True}),
    ):
        with pytest.raises(urllib.error.HTTPError) as error:
            mlflow(method, body)
        assert error.value.code == 403
    assert mlflow("experiments/get", experiment_id=made)["experiment"]["name"].startswith("made-")
