"""Names, labels, selectors and annotations of the chart's objects, and of the pods that it describes."""

import yaml

EVERYTHING = {
    "sharedCluster": {"enabled": True, "from": [{"podSelector": {}}]},
    "jobs": {"quota": {"pods": 9}, "limits": [{"type": "Pod"}]},
}
FIXED = {"stoker-job", "stoker-profile", "stoker-submitter"}
"""Names that the client reads."""
VERSIONS = {"app.kubernetes.io/version", "helm.sh/chart"}


def named(objects):
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in objects}


def templates(objects):
    """Return the pod templates of the chart's objects, by the names of the objects."""
    found = {}
    for name, each in named(objects).items():
        if each["kind"] in ("Deployment", "Job"):
            found[name] = each["spec"]["template"]
        if each["kind"] == "CronJob":
            found[name] = each["spec"]["jobTemplate"]["spec"]["template"]
        if each["kind"] == "RayCluster":
            found |= {f"{name}/head": each["spec"]["headGroupSpec"]["template"]}
            found |= {f"{name}/worker": each["spec"]["workerGroupSpecs"][0]["template"]}
    return found


def names_without(start, objects):
    """Return the names that do not begin so; those of cluster-wide objects have the namespace first."""
    starts = {each["metadata"]["name"]: start if "namespace" in each["metadata"] else f"ml-{start}" for each in objects}
    return {name for name, expected in starts.items() if not name.startswith(f"{expected}-")}


def test_names_begin_with_the_release_unless_the_client_reads_them(render):
    objects = render(EVERYTHING)
    names = {each["metadata"]["name"] for each in objects}
    assert names_without("team", objects) == FIXED
    assert {
        "ml-team-runs",
        "team-mlflow",
        "team-mlflow-login",
        "team-runs",
        "team-heads",
        "team-shared",
        "team-jobs",
    } < names


def test_overrides_change_the_names_and_what_refers_to_them(render):
    for values, start in (({"nameOverride": "ml"}, "team-ml"), ({"fullnameOverride": "training"}, "training")):
        found = named(render({**EVERYTHING, **values}))
        assert names_without(start, found.values()) == FIXED
        profile = yaml.safe_load(found["ConfigMap/stoker-profile"]["data"]["profile.yaml"])
        assert profile["tracking_uri"] == f"http://{start}-mlflow.ml:5000"
        assert (profile["storage_claim"], profile["login_secret"]) == (f"{start}-runs", f"{start}-mlflow-runs-login")
        selector = found[f"NetworkPolicy/{start}-shared"]["spec"]["podSelector"]["matchLabels"]
        assert selector["ray.io/cluster"] == f"{start}-shared"
    assert "Deployment/team-mlflow" in named(render({"nameOverride": "team"}))  # the release has that name already


def test_selectors_are_those_of_the_first_version(render):
    # A Deployment with another selector cannot be upgraded.
    selector = {"app.kubernetes.io/instance": "team", "app.kubernetes.io/component": "mlflow"}
    for values in ({}, {"nameOverride": "ml", "fullnameOverride": "x", "commonLabels": {"owner": "ml"}}):
        objects = render(values)
        (server,) = [each for each in objects if each["kind"] == "Deployment"]
        (service,) = [each for each in objects if each["kind"] == "Service"]
        assert server["spec"]["selector"] == {"matchLabels": selector}
        assert service["spec"]["selector"] == selector
        assert selector.items() <= server["spec"]["template"]["metadata"]["labels"].items()


def test_objects_name_their_version_and_pods_do_not(render):
    objects = render(EVERYTHING)
    for name, each in named(objects).items():
        labels = each["metadata"]["labels"]
        assert VERSIONS | {"app.kubernetes.io/name", "app.kubernetes.io/managed-by"} <= labels.keys(), name
        assert labels["app.kubernetes.io/instance"] == "team"
    for name, template in templates(objects).items():
        assert not VERSIONS & template["metadata"]["labels"].keys(), name
        assert template["metadata"]["labels"]["app.kubernetes.io/component"], name


def test_another_version_of_the_chart_changes_no_pod_template(render, chart):
    before = templates(render(EVERYTHING))
    description = (chart / "Chart.yaml").read_text()
    (chart / "Chart.yaml").write_text(description.replace("\nversion: ", "\nversion: 9"))
    try:
        assert templates(render(EVERYTHING)) == before
    finally:
        (chart / "Chart.yaml").write_text(description)


def test_the_monitor_selects_the_service(render):
    objects = render({"mlflow": {"serviceMonitor": {"enabled": True}}, "nameOverride": "x"}, "monitoring.coreos.com/v1")
    (monitor,) = [each for each in objects if each["kind"] == "ServiceMonitor"]
    (service,) = [each for each in objects if each["kind"] == "Service"]
    selector = monitor["spec"]["selector"]["matchLabels"]
    assert selector.items() <= service["metadata"]["labels"].items()
    assert not VERSIONS & selector.keys()


def test_common_labels_reach_every_object_and_every_pod(render):
    objects = render({**EVERYTHING, "commonLabels": {"owner": "ml"}})
    for name, each in {**named(objects), **templates(objects)}.items():
        assert each["metadata"]["labels"]["owner"] == "ml", name
    profile = yaml.safe_load(named(objects)["ConfigMap/stoker-profile"]["data"]["profile.yaml"])
    assert profile["pod_labels"] == {"owner": "ml"}


def test_labels_annotations_and_environment_of_runs_reach_the_shared_cluster_too(render):
    jobs = {"podLabels": {"a": "1"}, "podAnnotations": {"b": "2"}, "environment": {"HTTPS_PROXY": "http://proxy:3128"}}
    objects = render({**EVERYTHING, "jobs": jobs})
    profile = yaml.safe_load(named(objects)["ConfigMap/stoker-profile"]["data"]["profile.yaml"])
    assert (profile["pod_labels"], profile["pod_annotations"]) == ({"a": "1"}, {"b": "2"})
    assert profile["environment"] == jobs["environment"]
    for node in ("head", "worker"):
        template = templates(objects)[f"RayCluster/team-shared/{node}"]
        assert template["metadata"]["labels"]["a"] == "1"
        assert template["metadata"]["annotations"] == {"b": "2"}
        assert {"name": "HTTPS_PROXY", "value": "http://proxy:3128"} in template["spec"]["containers"][0]["env"]


def test_the_fields_of_mlflows_pod_are_those_of_the_values(render):
    fields = {
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
        "priorityClassName": "high",
        "nodeSelector": {"pool": "cpu"},
        "tolerations": [{"key": "team", "operator": "Exists"}],
    }
    more = {
        "podAnnotations": {"a": "b"},
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
    }
    template = templates(render({"mlflow": {**fields, **more}}))["Deployment/team-mlflow"]
    assert {key: template["spec"][key] for key in fields} == fields
    assert template["metadata"]["annotations"] == more["podAnnotations"]
    assert template["spec"]["volumes"][-1] == more["extraVolumes"][0]
    for container in [*template["spec"]["initContainers"], *template["spec"]["containers"]]:
        assert container["env"][-1] == more["extraEnv"][0]
        assert container["volumeMounts"][-1] == more["extraVolumeMounts"][0]


def test_security_contexts_are_merged_over_the_safe_ones(render):
    own = {
        "podSecurityContext": {"runAsUser": 1000650000, "fsGroup": 0},
        "securityContext": {"readOnlyRootFilesystem": False, "capabilities": {"add": ["NET_BIND_SERVICE"]}},
    }
    objects = templates(render({"mlflow": own}))
    spec = objects["Deployment/team-mlflow"]["spec"]
    assert (spec["securityContext"]["runAsUser"], spec["securityContext"]["fsGroup"]) == (1000650000, 0)
    assert (spec["securityContext"]["runAsNonRoot"], spec["securityContext"]["runAsGroup"]) == (True, 10001)
    for container in [*spec["initContainers"], *spec["containers"]]:
        security = container["securityContext"]
        assert (security["allowPrivilegeEscalation"], security["readOnlyRootFilesystem"]) == (False, False)
        assert security["capabilities"] == {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}
    test = objects["Job/team-test"]["spec"]["containers"][0]["securityContext"]
    assert test["readOnlyRootFilesystem"] is True
