"""The values of the chart: what its schema refuses, and the table in its README."""

import json
import re
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

CHART = Path(__file__).parents[2] / "helm" / "stoker"
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
ROW = re.compile(r"^\| `([\w.-]+)` \| (.+?) \| .+ \|$", re.MULTILINE)
PEERS = [
    *(f"networkPolicy.{key}" for key in ("dns", "operator", "apiServer", "https", "database")),
    *(f"mlflow.{key}.from" for key in ("ingress", "serviceMonitor")),
    "sharedCluster.from",
]
MISSPELT_PEERS = [
    ("namespaceSelecter", {"namespaceSelecter": {}}),
    ("podSelektor", {"podSelektor": {}}),
    ("ipBlok", {"ipBlok": {"cidr": "10.0.0.0/8"}}),
    ("matchLabel", {"podSelector": {"matchLabel": {"a": "b"}}}),
    ("matchExpression", {"namespaceSelector": {"matchExpression": []}}),
    ("exept", {"ipBlock": {"cidr": "10.0.0.0/8", "exept": []}}),
]
TERM = {"labelSelector": {"matchLabls": {}}, "topologyKey": "kubernetes.io/hostname"}
SPREAD = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelektor": {}}
CI = {"kind": "ServiceAccount", "name": "ci"}
MISSPELT = [
    ("nameOverrid", "nameOverrid", "x"),
    ("app.kubernetes.io/instance", "commonLabels", {"app.kubernetes.io/instance": "x"}),
    ("nam", "image.pullSecrets", [{"nam": "x"}]),
    ("tolerationz", "jobs.pod", {"tolerationz": []}),
    ("kee", "jobs.pod", {"tolerations": [{"kee": "x"}]}),
    ("nodeAfinity", "jobs.pod", {"affinity": {"nodeAfinity": {}}}),
    ("configMop", "jobs.pod", {"volumes": [{"name": "x", "configMop": {}}]}),
    ("jobPod", "jobs.jobPod", ["nodeSelektor"]),
    ("maxi", "jobs.limits", [{"type": "Container", "maxi": {"memory": "1Gi"}}]),
    ("memry", "jobs.limits", [{"type": "Container", "max": {"memry": "1Gi"}}]),
    ("app.kubernetes.io/component", "jobs.podLabels", {"app.kubernetes.io/component": "x"}),
    ("STOKER_HOME", "jobs.environment", {"STOKER_HOME": "/data"}),
    ("HTTP-PROXY", "jobs.environment", {"HTTP-PROXY": "x"}),
    ("namespase", "submitters", [{**CI, "namespase": "ci"}]),
    ("namespace", "submitters", [CI]),
    ("efect", "mlflow.tolerations", [{"key": "x", "efect": "NoSchedule"}]),
    ("nodeAfinity", "mlflow.affinity", {"nodeAfinity": {}}),
    ("matchLabls", "mlflow.affinity", {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [TERM]}}),
    ("labelSelektor", "mlflow.topologySpreadConstraints", [SPREAD]),
    ("memry", "mlflow.resources.limits", {"memry": "2Gi"}),
    ("runAsUsr", "mlflow.podSecurityContext", {"runAsUsr": 1}),
    ("readOnly", "mlflow.securityContext", {"readOnly": True}),
    ("secretKeyRaf", "mlflow.extraEnv", [{"name": "A", "valueFrom": {"secretKeyRaf": {}}}]),
    ("configMop", "mlflow.extraVolumes", [{"name": "x", "configMop": {}}]),
    ("mountPaht", "mlflow.extraVolumeMounts", [{"name": "x", "mountPaht": "/x"}]),
    ("helm.sh/chart", "mlflow.podLabels", {"helm.sh/chart": "x"}),
    ("too", "networkPolicy.runsEgress", [{"too": []}]),
    ("podSelektor", "networkPolicy.runsEgress", [{"to": [{"podSelektor": {}}]}]),
    ("prot", "networkPolicy.mlflowEgress", [{"ports": [{"prot": 443}]}]),
    ("apiServerPorts", "networkPolicy.apiServerPorts", ["https"]),
    ("upgradeStrategy", "sharedCluster.upgradeStrategy", "Rolling"),
    ("nodeLabel", "kueue.flavors", [{"name": "gpu", "nodeLabel": {}}]),
    ("kee", "kueue.flavors", [{"name": "gpu", "tolerations": [{"kee": "x"}]}]),
    ("efect", "kueue.flavors", [{"name": "gpu", "nodeTaints": [{"key": "x", "efect": "NoSchedule"}]}]),
    ("quotas", "kueue.queues", [{"name": "q", "quotas": {}, "quota": {"gpu": {"cpu": 1, "memory": "1Gi"}}}]),
    ("gpus", "kueue.queues", [{"name": "q", "quota": {"gpu": {"cpu": 1, "memory": "1Gi", "gpus": 1}}}]),
    *((word, path, [peer]) for path in PEERS for word, peer in MISSPELT_PEERS),
]


@pytest.mark.parametrize(("word", "path", "value"), MISSPELT)
def test_a_misspelt_key_is_refused_by_its_name(word, path, value):
    errors = Draft202012Validator(SCHEMA).iter_errors(at(path, value))
    assert any(re.search(rf"\b{re.escape(word)}\b", f"{error.json_path} {error.message}") for error in errors)


def test_helm_names_every_misspelt_key(render):
    peers = [peer for _, peer in MISSPELT_PEERS]
    values = {"networkPolicy": {"dns": peers, "runsEgress": [{"too": []}]}, "mlflow": {"affinity": {"nodeAfinity": {}}}}
    with pytest.raises(ValueError, match="additional properties") as refusal:
        render({**values, "jobs": {"environment": {"STOKER_HOME": "/data"}}})
    words = [word for word, _ in MISSPELT_PEERS]
    assert [word for word in [*words, "too", "nodeAfinity", "STOKER_HOME"] if word not in str(refusal.value)] == []


def test_the_shapes_of_kubernetes_are_taken(render):
    peers = [
        {"namespaceSelector": {}, "podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}},
        {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.1/32"]}},
    ]
    rules = [{"to": peers, "ports": [{"port": "https", "protocol": "TCP"}, {"port": 9000, "endPort": 9010}]}]
    term = {"labelSelector": {"matchLabels": {"a": "b"}}, "topologyKey": "kubernetes.io/hostname"}
    mlflow = {
        "affinity": {
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": term}]
            }
        },
        "tolerations": [{"key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute", "tolerationSeconds": 9}],
        "resources": {"limits": {"cpu": 2, "memory": "2Gi", "ephemeral-storage": "1Gi", "example.com/x": 1}},
    }
    flavor = {"name": "gpu", "nodeLabels": {"a": "b"}, "nodeTaints": [{"key": "a", "effect": "NoSchedule"}]}
    assert render(
        {
            "networkPolicy": {**{path.partition(".")[2]: peers for path in PEERS[:5]}, "runsEgress": rules},
            "mlflow": mlflow,
            "kueue": {"flavors": [{**flavor, "tolerations": mlflow["tolerations"], "topologyName": "racks"}]},
            "submitters": [{**CI, "namespace": "ci"}],
            "jobs": {"pod": {"tolerations": mlflow["tolerations"], "dnsPolicy": "Default"}, "jobPod": ["hostAliases"]},
        }
    )


def test_the_readme_has_every_value_with_its_default():
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    table = ROW.findall((CHART / "README.md").read_text(encoding="utf-8"))
    assert table == [(path, shown(default)) for path, default in leaves(values)]


def at(path, value):
    """Return values with one value at a dotted path."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def leaves(values, above=""):
    """Yield the paths of all values that are not sections, with their defaults."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def shown(default):
    """Return a default as the README shows it."""
    text = f"`{json.dumps(default)}`"
    return text if len(text) <= 60 else "see `values.yaml`"
