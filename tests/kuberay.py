"""KubeRay's own schemas, by which a manifest is checked as an API server would."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft4Validator, FormatChecker, ValidationError, validators

CHART = Path(__file__).parents[1] / "helm" / "stoker" / "Chart.yaml"
OPERATOR = "github.com/ray-project/kuberay/ray-operator"


class Refusals:
    """Lists what a schema refuses in a manifest; each schema is read once."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}

    def __call__(self, manifest: Any) -> list[str]:
        kind, version = manifest["kind"], manifest["apiVersion"].removeprefix("ray.io/")
        if kind not in self._known:
            crd = yaml.load(_crd(kind).read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
            (served,) = [each for each in crd["spec"]["versions"] if each["served"] and each["name"] == version]
            schema = _strict(served["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = METADATA
            self._known[kind] = CrdValidator(schema, format_checker=INTEGERS)
        return [f"{error.json_path}: {error.message}" for error in self._known[kind].iter_errors(manifest)]


TEXT = {"type": "string"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
METADATA = {
    "properties": {"name": TEXT, "namespace": TEXT, "labels": TEXTS, "annotations": TEXTS},
    "required": ["name"],
    "additionalProperties": False,
}
"""What Stoker uses of an object's metadata, which a CRD leaves to the API server."""
INTEGERS = FormatChecker(())
INTEGERS.checks("int32")(lambda value: not isinstance(value, int) or -(2**31) <= value < 2**31)


def _crd(kind: str) -> Path:
    """Find a CRD of KubeRay: STOKER_TEST_RAYJOB_CRD or what lies beside it, else where Go keeps its modules."""
    named = os.environ.get("STOKER_TEST_RAYJOB_CRD")
    if named and kind == "RayJob":
        return Path(named)
    (dependency,) = yaml.safe_load(CHART.read_text())["dependencies"]
    module = f"{OPERATOR}@v{dependency['version'].removeprefix('~')}"
    go = Path(os.environ.get("GOPATH", "").split(os.pathsep)[0] or Path.home() / "go")
    modules = Path(os.environ.get("GOMODCACHE") or go / "pkg" / "mod")
    folder = Path(named).parent if named else modules / module / "config" / "crd" / "bases"
    path = folder / f"ray.io_{kind.lower()}s.yaml"
    if not path.is_file():
        pytest.skip(f"no {path.name} here: `go mod download {module}`, or name KubeRay's in STOKER_TEST_RAYJOB_CRD")
    return path


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Turn a structural schema of Kubernetes into a JSON Schema that knows no other fields than those it names."""
    made = dict(schema)
    if "properties" in schema:
        made["properties"] = {name: _strict(each) for name, each in schema["properties"].items()}
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            made[word] = _strict(schema[word])
    if schema.get("type") == "object" and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    return {"anyOf": [made, {"type": "null"}]} if schema.get("nullable") else made


def _one_of_each_key(_: Any, keys: list[str], items: Any, schema: Any) -> Iterator[ValidationError]:
    """Refuse two items of a list that Kubernetes takes for one, such as variables of one name."""
    known = schema["items"]["properties"]
    values = [tuple(item.get(key, known[key].get("default")) for key in keys) for item in items]
    for value in {value for value in values if values.count(value) > 1}:
        yield ValidationError(f"{dict(zip(keys, value, strict=True))} is there twice")


# OpenAPI 3.0, in whose words a CRD is written, is nearest to this draft.
CrdValidator = validators.extend(Draft4Validator, {"x-kubernetes-list-map-keys": _one_of_each_key})
