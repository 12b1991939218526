"""Names, labels and owners of a run's Kubernetes objects, by which all of them are found and deleted together."""

from datetime import datetime
from typing import Any

from stoker.clusters.run_inputs import RUN_LABEL
from stoker.tracking.run import RunHeader

Manifest = dict[str, Any]

NAME_LABEL = "stoker.dev/name"


def labels_of(header: RunHeader) -> dict[str, str]:
    """Return the labels of a run's objects."""
    return {
        "app.kubernetes.io/name": "stoker",
        "app.kubernetes.io/component": "run",
        "app.kubernetes.io/managed-by": "stoker",
        RUN_LABEL: header.id,
        NAME_LABEL: header.name,
    }


def metadata_of(header: RunHeader, namespace: str, suffix: str = "") -> Manifest:
    """Return the metadata of an object of a run."""
    return {"name": f"{header.id}{suffix}", "namespace": namespace, "labels": labels_of(header)}


def annotations_of(manifest: Manifest) -> dict[str, str]:
    """Return the annotations of an object."""
    found: dict[str, str] = manifest["metadata"].get("annotations") or {}
    return found


def owned_by(manifest: Manifest, owner: Manifest) -> Manifest:
    """Return an object that is deleted with its owner, which exists on the server."""
    metadata = owner["metadata"]
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"]}
    reference |= {"name": metadata["name"], "uid": metadata["uid"], "blockOwnerDeletion": True}
    return {**manifest, "metadata": {**manifest["metadata"], "ownerReferences": [reference]}}


def seconds(time: str) -> float:
    """Return a time of Kubernetes, such as 2026-01-01T00:00:00Z, as seconds since 1970."""
    return datetime.fromisoformat(time).timestamp()
