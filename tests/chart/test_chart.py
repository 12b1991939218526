"""What the chart renders, by Helm itself; tests/cluster installs it."""

import json
import os
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from stoker import __version__
from stoker.clusters.kubernetes.profile import Profile
from stoker.clusters.kubernetes.rayjob import RAY_VERSION, rayjob_manifest
from stoker.jobfile.loading import parse_job
from stoker.tracking.run import RunHeader

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "k8s").glob("values-*.yaml"))
KUEUE = {
    "kueue": {
        "flavors": [{"name": "gpu", "nodeLabels": {"pool": "gpu"}}],
        "queues": [
            {"name": "team-a", "cohort": "all", "quota": {"gpu": {"cpu": 8, "memory": "64Gi", "nvidia.com/gpu": 4}}}
        ],
        "priorities": {"high": 10},
    }
}
MANY = {"mlflow": {"replicas": 2, "backendStore": {"existingSecret": "db"}, "artifacts": {"s3": "s3://b/mlflow"}}}
FULL = {
    "image": {"pullSecrets": [{"name": "registry"}]},
    "jobs": {
        "environmentSecret": "s3",
        "storage": {"s3": "s3://b/runs"},
        "queue": "team-a",
        "head": {"cpus": 0.5, "memory": "1.5GiB"},
        "accelerators": {"H200": {"nodeSelector": {"pool": "gpu"}, "workersPerNode": 8, "resources": {"rdma/hca": 8}}},
        "sharedMemory": "16GiB",
        "pod": {"nodeSelector": {"disk": "fast"}, "tolerations": [{"key": "team", "operator": "Exists"}]},
        "podLabels": {"azure.workload.identity/use": "true"},
    },
    "sharedCluster": {
        "enabled": True,
        "workers": 2,
        "worker": {"cpus": 4, "memory": "16GiB", "gpus": 1},
        "from": [{"podSelector": {}}],
    },
}
JOB = "name: digits\ntask: image-classification\ndataset: digits\nresources: {workers: 2, accelerator: H200}\n"


def of(objects, kind, name=None):
    return [each for each in objects if each["kind"] == kind and name in (None, each["metadata"]["name"])]


def pod_specs(objects):
    """Find every pod that the chart makes, with its labels."""
    for each in objects:
        if each["kind"] in ("Deployment", "Job"):
            template = each["spec"]["template"]
            yield template["metadata"]["labels"], template["spec"]
        if each["kind"] == "CronJob":
            template = each["spec"]["jobTemplate"]["spec"]["template"]
            yield template["metadata"]["labels"], template["spec"]
        if each["kind"] == "RayCluster":
            groups = [each["spec"]["headGroupSpec"], *each["spec"]["workerGroupSpecs"]]
            yield from ((group["template"]["metadata"]["labels"], group["template"]["spec"]) for group in groups)


def test_helm_lint_passes(helm, chart):
    done = subprocess.run([helm, "lint", "--strict", str(chart)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_chart_and_the_package_are_of_one_version():
    description = yaml.safe_load((ROOT / "helm" / "stoker" / "Chart.yaml").read_text())
    assert description["appVersion"] == __version__


def test_manifest_chart_and_package_are_of_one_ray(render):
    (shared,) = of(render({"sharedCluster": {"enabled": True}}), "RayCluster")
    assert shared["spec"]["rayVersion"] == RAY_VERSION == version("ray")


@pytest.mark.parametrize("values", [{"sharedCluster": {"enabled": True}}, FULL], ids=["plain", "full"])
def test_the_shared_cluster_matches_the_kuberay_schema(render, kuberay, values):
    (shared,) = of(render(values), "RayCluster")
    assert kuberay(shared) == []
    shared["spec"]["workerGroupSpecs"][0]["replica"] = 1
    (mistake,) = kuberay(shared)
    assert "'replica' was unexpected" in mistake


@pytest.mark.parametrize("values", [{}, FULL, *EXAMPLES], ids=["plain", "full", *(each.stem for each in EXAMPLES)])
def test_a_job_with_the_charts_profile_matches_the_kuberay_schema(render, kuberay, values):
    objects = render(file=values) if isinstance(values, Path) else render(values)
    (found,) = of(objects, "ConfigMap", "stoker-profile")
    profile = Profile.model_validate(yaml.safe_load(found["data"]["profile.yaml"]))
    header = RunHeader("digits-0a1b2c3d", "digits", "image-classification", "cnn", "digits", 1.0, 1, "", "digits")
    assert kuberay(rayjob_manifest(parse_job(JOB, "digits.yaml").job, header, "ml", profile, {})) == []


def test_every_pod_passes_the_restricted_level_and_has_no_token_by_itself(render):
    found = list(pod_specs(render({"sharedCluster": {"enabled": True}})))
    assert len(found) == 7
    for _, spec in found:
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            security = container["securityContext"]
            assert (security["allowPrivilegeEscalation"], security["readOnlyRootFilesystem"]) == (False, True)
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


def test_policies_select_every_pod_for_both_ways(render):
    objects = render({"sharedCluster": {"enabled": True}})
    policies = [each["spec"] for each in of(objects, "NetworkPolicy")]
    for labels, _ in pod_specs(objects):
        mine = [p for p in policies if p["podSelector"]["matchLabels"].items() <= labels.items()]
        assert {way for policy in mine for way in policy["policyTypes"]} == {"Ingress", "Egress"}, labels


def test_no_peers_are_nobody_and_not_everybody(render):
    nobody = {key: [] for key in ("dns", "operator", "apiServer", "https", "database")}
    objects = render({"networkPolicy": nobody, **MANY})
    rules = [
        rule
        for each in of(objects, "NetworkPolicy")
        for way in ("ingress", "egress")
        for rule in each["spec"].get(way) or []
    ]
    assert rules
    assert all(rule.get("from") or rule.get("to") for rule in rules)


def test_nothing_is_reachable_from_outside_unless_asked(render):
    objects = render({"sharedCluster": {"enabled": True}})
    assert not of(objects, "Ingress")
    assert {each["spec"].get("type", "ClusterIP") for each in of(objects, "Service")} == {"ClusterIP"}
    asked = {
        "enabled": True,
        "host": "mlflow.example.com",
        "tls": {"secretName": "cert"},
        "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}],
    }
    objects = render({"mlflow": {"ingress": asked}})
    (ingress,) = of(objects, "Ingress")
    assert ingress["spec"]["tls"] == [{"hosts": ["mlflow.example.com"], "secretName": "cert"}]
    (server,) = of(objects, "Deployment")
    (hosts,) = [each for each in server["spec"]["template"]["spec"]["containers"][0]["command"] if "hosts" in each]
    assert "mlflow.example.com,mlflow.example.com:443" in hosts
    assert "team-mlflow.ml:5000" in hosts
    assert (
        "--cors-allowed-origins=https://mlflow.example.com"
        in server["spec"]["template"]["spec"]["containers"][0]["command"]
    )


def test_secrets_come_as_files_and_stand_in_no_configmap(render):
    objects = render({"jobs": {"environmentSecret": "s3"}, **MANY})
    for _, spec in pod_specs(objects):
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert "envFrom" not in container
            assert all("secretKeyRef" not in each.get("valueFrom", {}) for each in container.get("env", []))
    (server,) = of(objects, "Deployment")
    (volume,) = [each for each in server["spec"]["template"]["spec"]["volumes"] if each["name"] == "secrets"]
    files = [item["path"] for source in volume["projected"]["sources"] for item in source["secret"].get("items", [])]
    assert {"DATABASE", "MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY"} <= set(files)
    assert not any("password" in str(each["data"]).lower() for each in of(objects, "ConfigMap"))


def test_the_client_reads_the_profile(render):
    values = {
        "image": {"digest": "sha256:" + "a" * 64, "pullSecrets": [{"name": "registry"}]},
        "jobs": {"storage": {"s3": "s3://b/runs"}, "queue": "team-a", "environmentSecret": "s3"},
    }
    (found,) = of(render(values), "ConfigMap", "stoker-profile")
    profile = Profile.model_validate(yaml.safe_load(found["data"]["profile.yaml"]))
    assert profile.image == "stoker@sha256:" + "a" * 64
    assert (profile.storage, profile.storage_claim, profile.queue) == ("s3://b/runs", "", "team-a")
    assert profile.environment_secrets == ["team-mlflow-runs-login", "s3"]
    assert (profile.image_pull_secrets, profile.version) == (["registry"], __version__)
    (found,) = of(render(), "ConfigMap", "stoker-profile")
    assert Profile.model_validate(yaml.safe_load(found["data"]["profile.yaml"])).storage_claim == "team-runs"


def test_rights_are_those_that_are_needed(render):
    roles = {each["metadata"]["name"]: each["rules"] for each in of(render(), "Role")}
    own = {"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["get", "patch"]}
    more = {"apiGroups": ["ray.io"], "resources": ["rayclusters"], "verbs": ["patch"]}
    assert roles["stoker-job"] == [own, more]
    unchecked = of(render({"policy": {"enabled": False}}), "Role")
    assert next(each["rules"] for each in unchecked if each["metadata"]["name"] == "stoker-job") == [own]
    for rule in roles["stoker-submitter"]:
        assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
        assert "pods/exec" not in rule["resources"]
        if "secrets" in rule["resources"]:
            assert (rule["verbs"], rule["resourceNames"]) == (["get"], ["team-mlflow-runs-login"])
    assert not of(render(), "ClusterRole")
    subject = {"kind": "Group", "name": "ml", "apiGroup": "rbac.authorization.k8s.io"}
    (binding,) = of(render({"submitters": [subject]}), "RoleBinding", "stoker-submitter")
    assert binding["subjects"] == [subject]


@pytest.mark.parametrize(("api", "cohort"), [("v1beta1", "cohort"), ("v1beta2", "cohortName")])
def test_queues_are_made_where_kueue_is_served_and_in_its_words(render, api, cohort):
    assert not of(render(KUEUE), "ClusterQueue")
    objects = render(KUEUE, f"kueue.x-k8s.io/{api}")
    (queue,) = of(objects, "ClusterQueue")
    assert queue["apiVersion"] == f"kueue.x-k8s.io/{api}"
    assert queue["spec"][cohort] == "all"
    (group,) = queue["spec"]["resourceGroups"]
    assert group["coveredResources"] == ["cpu", "memory", "nvidia.com/gpu"]
    assert group["flavors"][0]["resources"][2] == {"name": "nvidia.com/gpu", "nominalQuota": "4"}
    assert [each["metadata"]["name"] for each in of(objects, "LocalQueue")] == ["team-a"]
    assert [each["value"] for each in of(objects, "WorkloadPriorityClass")] == [10]


def test_limits_budget_and_monitor_are_there_when_wanted(render):
    plain = render({}, "monitoring.coreos.com/v1")
    for kind in ("ResourceQuota", "LimitRange", "PodDisruptionBudget", "ServiceMonitor", "RayCluster"):
        assert not of(plain, kind)
    jobs = {"quota": {"requests.nvidia.com/gpu": 8}, "limits": [{"type": "Container", "max": {"memory": "64Gi"}}]}
    monitored = {"mlflow": {**MANY["mlflow"], "serviceMonitor": {"enabled": True}}, "jobs": jobs}
    found = render(monitored, "monitoring.coreos.com/v1")
    assert of(found, "ResourceQuota")[0]["spec"]["hard"] == {"requests.nvidia.com/gpu": "8"}
    (server,) = of(found, "Deployment")
    assert any(",$(POD_IP):5000" in word for word in server["spec"]["template"]["spec"]["containers"][0]["command"])
    for kind in ("LimitRange", "PodDisruptionBudget", "ServiceMonitor"):
        assert len(of(found, kind)) == 1
    assert not of(render(monitored), "ServiceMonitor")
    assert not of(render(MANY), "PersistentVolumeClaim", "team-mlflow")


def test_a_server_may_get_its_volume_back(render):
    # What the API server filled into `rollingUpdate` would stay behind, and Recreate does not bear it: it is the
    # chart's own, so that it goes with the values.
    (many,), (one,) = of(render(MANY), "Deployment"), of(render({}), "Deployment")
    assert set(many["spec"]["strategy"]) == {"type", "rollingUpdate"}
    assert one["spec"]["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mlfow": {}}, "mlfow"),
        ({"mlflow": {"worker": 2}}, "worker"),
        ({"mlflow": {"workers": 0}}, "minimum"),
        ({"image": {"digest": "abc"}}, "digest"),
        ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
        ({"jobs": {"worker": {"cpus": 2, "memory": "4Gi"}}}, "memory"),
        ({"jobs": {"storage": {"s3": "bucket"}}}, "s3"),
        ({"submitters": [{"kind": "Robot", "name": "x"}]}, "kind"),
        ({"mlflow": {"replicas": 2}}, "replicas cannot share SQLite"),
        ({"mlflow": {"ingress": {"enabled": True}}}, "host is empty"),
        ({"mlflow": {"ingress": {"enabled": True, "host": "a.b"}}}, "passwords pass this ingress"),
        ({"kueue": {"queues": [{"name": "q", "quota": {"gpu": {"cpu": 1}}}]}}, "memory"),
        ({"kueue": {"queues": [{"name": "q", "quota": {"gpu": {"cpu": 1, "memory": 1}}}]}}, "not in kueue.flavors"),
    ],
)
def test_a_mistake_in_the_values_is_refused(render, values, words):
    with pytest.raises(ValueError, match=words):
        render(values)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_render(render, file):
    objects = render(file=file)
    (found,) = of(objects, "ConfigMap", "stoker-profile")
    assert Profile.model_validate(yaml.safe_load(found["data"]["profile.yaml"])).image.startswith(
        "registry.example.com"
    )


def test_the_operators_keys_and_the_operators_own_absence_are_taken(render):
    assert render({"kuberay-operator": {"enabled": False, "image": {"tag": "v1.6.2"}}, "global": {"a": 1}})


def test_a_packed_chart_is_pinned_to_its_image_by_default(helm, tmp_path):
    digest = f"sha256:{'0f' * 32}"
    pack = [ROOT / "k8s" / "package-chart", "--without-operator", "--destination", tmp_path]
    environment = {**os.environ, "HELM": helm}
    subprocess.run([*pack, f"registry.example.com:5000/ml/stoker:1@{digest}"], check=True, env=environment)
    command = [helm, "template", "team", tmp_path / f"stoker-{__version__}.tgz"]
    rendered = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    images = {line.partition("image:")[2].strip().strip('"') for line in rendered.splitlines() if " image:" in line}
    assert images == {f"registry.example.com:5000/ml/stoker@{digest}"}


@pytest.mark.parametrize("image", ["stoker:0.1.0", "stoker@sha256:123", "@sha256:" + "0" * 64])
def test_a_chart_is_not_packed_for_an_image_without_a_digest(helm, image, tmp_path):
    command = [ROOT / "k8s" / "package-chart", image, "--without-operator", "--destination", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HELM": helm})
    assert done.returncode == 2
    assert "the digest is what the push of the image has printed" in done.stderr
    assert not list(tmp_path.iterdir())


def policy_of(objects):
    policy, workers = of(objects, "ValidatingAdmissionPolicy")
    assert workers["metadata"]["name"] == f"{policy['metadata']['name']}-workers"
    variables = {each["name"]: each["expression"] for each in policy["spec"]["variables"]}
    return variables, " ".join(each["expression"] for each in policy["spec"]["validations"])


def test_the_policy_allows_what_the_values_name(render):
    variables, rules = policy_of(render())
    assert json.loads(variables["secrets"]) == ["team-mlflow-runs-login"]
    assert json.loads(variables["claims"]) == ["team-runs"]
    assert variables["volumes"] == "dyn([])"
    assert "container.image" not in rules
    pod = {
        "volumes": [
            {"name": "a", "secret": {"secretName": "ca"}},
            {"name": "b", "persistentVolumeClaim": {"claimName": "scratch"}},
            {"name": "c", "hostPath": {"path": "/dev/infiniband"}},
        ],
        "containers": [
            {"name": "proxy", "image": "proxy:1", "envFrom": [{"secretRef": {"name": "proxy"}}]},
            {"name": "ray-worker", "env": [{"name": "K", "valueFrom": {"secretKeyRef": {"name": "k", "key": "k"}}}]},
        ],
    }
    jobs = {"pod": pod, "data": [{"claim": "datasets"}], "environmentSecret": "s3", "ownImages": False}
    variables, rules = policy_of(render({"jobs": jobs}))
    assert json.loads(variables["secrets"]) == ["team-mlflow-runs-login", "s3", "proxy", "k"]
    assert json.loads(variables["claims"]) == ["team-runs", "datasets"]
    assert json.loads(re.sub(r"dyn\(|\)", "", variables["volumes"])) == pod["volumes"]
    assert json.loads(variables["images"])[1:] == ["proxy:1"]
    assert "container.image in variables.images" in rules
    assert of(render({"policy": {"enabled": False}}), "ValidatingAdmissionPolicy") == []


def test_old_runs_are_deleted_unless_they_are_to_be_kept(render):
    (job,) = of(render(), "CronJob")
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["command"][-2:] == ["stoker.clusters.kubernetes.retention", "30"]
    assert of(render({"jobs": {"retentionDays": 0}}), "CronJob") == []


def test_data_claims_reach_the_profile(render):
    data = [{"claim": "datasets"}, {"claim": "scratch", "path": "/scratch", "readOnly": False}]
    (profile,) = [each for each in of(render({"jobs": {"data": data}}), "ConfigMap") if "profile.yaml" in each["data"]]
    found = Profile.model_validate(yaml.safe_load(profile["data"]["profile.yaml"]))
    assert [(each.claim, each.path, each.read_only) for each in found.data] == [
        ("datasets", "/data", True),
        ("scratch", "/scratch", False),
    ]
