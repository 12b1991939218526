"""What we send, checked against KubeRay's own schema without a cluster: unknown fields are refused, as the server does.

Rules of the CRD in CEL are left to the server itself, in tests/cluster.
"""

import re
from pathlib import Path

import pytest

from stoker.clusters.kubernetes.profile import Accelerator, Profile
from stoker.clusters.kubernetes.rayjob import rayjob_manifest
from stoker.clusters.restart import FIRST_START, Restart
from stoker.jobfile.loading import load_job, parse_job
from stoker.tracking.run import RunHeader

JOBS = sorted((Path(__file__).parents[3] / "jobs").rglob("*.yaml"))
JOB = "name: digits\ntask: image-classification\ndataset: digits\n"
HEADER = RunHeader("digits-0a1b2c3d", "digits", "image-classification", "cnn", "digits", 1.0, 1, "", "digits")
BUCKET = Profile(image="stoker:1", tracking_uri="http://mlflow:5000", storage="s3://runs/stoker")
VOLUME = Profile(image="stoker:1", tracking_uri="http://mlflow:5000", storage_claim="runs", login_secret="login")
FULL = Profile(
    image="registry.example.com/stoker@sha256:0",
    image_pull_policy="Always",
    image_pull_secrets=["registry", "mirror"],
    tracking_uri="https://mlflow.example.com",
    storage="s3://runs/stoker",
    environment_secrets=["login", "bucket"],
    queue="default",
    ttl_s=0,
    accelerators={
        "H200": Accelerator(
            node_selector={"pool": "gpu", "kind": "h200"},
            workers_per_node=8,
            resources={"rdma/hca": 8},
            tolerations=[{"key": "spot", "operator": "Exists"}],
            host_network=True,
            annotations={"k8s.v1.cni.cncf.io/networks": "rdma"},
            environment={"NCCL_IB_HCA": "mlx5"},
        )
    },
    pod={
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "team", "operator": "Exists"}],
        "priorityClassName": "batch",
        "securityContext": {"supplementalGroups": [7]},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}}
        ],
    },
    pod_labels={"azure.workload.identity/use": "true"},
)
MORE = {
    "minimal": "",
    "workers on CPUs": "resources: {workers: 2, cpus: 3, gpus: 0, memory: 1.5GiB, retries: 0}\n",
    "workers on GPUs": "resources: {workers: 2, gpus: 1, cpus: 8, memory: 64GiB, accelerator: H200, retries: 1000}\n",
    "queue": "resources: {queue: team-a, priority: high, timeout: 1.5 h}\n",
    "a timeout of ages": "resources: {timeout: 100000 d}\n",
    "environment": "environment: {image: 'mine:2', packages: ['einops==0.8.1', torchvision], env: {A: b, NO: 'yes'}}\n",
    "our own variables": "environment: {env: {STOKER_RAYJOB: x, STOKER_NAMESPACE: y, STOKER_REOPEN: z, HOME: /}}\n",
    "pods": """
environment:
  pod:
    nodeSelector: {zone: a}
    tolerations: [{key: spot, operator: Equal, value: 'true', effect: NoExecute, tolerationSeconds: 60}]
    affinity:
      nodeAffinity:
        requiredDuringSchedulingIgnoredDuringExecution:
          nodeSelectorTerms: [{matchExpressions: [{key: gpu, operator: In, values: [h100, h200]}]}]
    topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]
""",
    "no tracking": "tracking: none\n",
}


def rendered(more="", profile=BUCKET, code=None, restart=FIRST_START):
    job = parse_job(JOB + more, "digits.yaml").job
    return rayjob_manifest(job, HEADER, "team", profile, code or {}, restart)


@pytest.mark.parametrize("profile", [BUCKET, VOLUME, FULL], ids=["bucket", "volume", "full"])
@pytest.mark.parametrize("more", MORE.values(), ids=MORE)
def test_every_kind_of_job_matches_the_kuberay_schema(kuberay, more, profile):
    assert kuberay(rendered(more, profile)) == []


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_the_shipped_jobs_match_the_kuberay_schema(kuberay, path):
    code = {file.name: file.read_bytes() for file in path.parent.glob("*.py")}
    assert kuberay(rayjob_manifest(load_job(path).job, HEADER, "team", FULL, code)) == []


@pytest.mark.parametrize(("files", "size", "parts"), [(2, 100, 1), (8, 800_000, 8)])
def test_kuberay_takes_code_however_many_objects_hold_it(kuberay, files, size, parts):
    manifest = rendered(code={f"parts/{number}.py": b"#" * size for number in range(files)})
    volumes = manifest["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["volumes"]
    (inputs,) = [each for each in volumes if each["name"] == "inputs"]
    assert len(inputs["projected"]["sources"]) == parts
    assert kuberay(manifest) == []


def test_kuberay_takes_a_resumed_run(kuberay):
    assert kuberay(rendered(restart=Restart("0a1b2c3d", 20))) == []


def put(manifest, where, value):
    """Put a value at a place such as `spec.volumes.0.name`."""
    *way, last = where.split(".")
    for step in way:
        manifest = manifest[int(step) if step.isdigit() else step]
    manifest[last] = value


HEAD = "spec.rayClusterSpec.headGroupSpec"
CONTAINER = "spec.submitterPodTemplate.spec.containers.0"


@pytest.mark.parametrize(
    ("where", "value", "words"),
    [
        (f"{HEAD}.templat", {}, r"headGroupSpec: Additional .*'templat' was unexpected"),
        (f"{CONTAINER}.volumeMount", [], r"containers\[0\]: Additional .*'volumeMount' was unexpected"),
        (f"{HEAD}.template.spec.volumes.0.emptyDir.size", 1, "emptyDir: Additional .*'size' was unexpected"),
        ("metadata.label", {}, "metadata: Additional .*'label' was unexpected"),
        ("spec.ttlSecondsAfterFinished", "600", "'600' is not of type 'integer'"),
        ("spec.activeDeadlineSeconds", 2**31, "2147483648 is not a 'int32'"),
        ("spec.entrypoint", None, "None is not of type 'string'"),
        (f"{HEAD}.rayStartParams.num-cpus", 0, "0 is not of type 'string'"),
        (f"{CONTAINER}.resources.limits.memory", "4GiB", r"limits\.memory: '4GiB' does not match"),
        (f"{CONTAINER}.env", [{"name": "A", "value": "b"}] * 2, "{'name': 'A'} is there twice"),
        (HEAD, {"rayStartParams": {}}, "'template' is a required property"),
    ],
)
def test_a_mistake_is_found(kuberay, where, value, words):
    manifest = rendered()
    put(manifest, where, value)
    (found,) = kuberay(manifest)
    assert re.search(words, found)
