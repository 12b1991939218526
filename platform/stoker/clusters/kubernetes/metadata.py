"""How the objects of a run are named and labelled, so that everything of it is found, and goes with it."""

from typing import Any

from stoker.tracking.run import RunHeader

Manifest = dict[str, Any]

RUN_LABEL = "stoker.dev/run"
NAME_LABEL = "stoker.dev/name"


def labels_of(header: RunHeader) -> dict[str, str]:
    """Label an object of a run."""
    return {
        "app.kubernetes.io/name": "stoker",
        "app.kubernetes.io/component": "run",
        "app.kubernetes.io/managed-by": "stoker",
        RUN_LABEL: header.id,
        NAME_LABEL: header.name,
    }


def metadata_of(header: RunHeader, namespace: str, suffix: str = "") -> Manifest:
    """Name and label an object of a run."""
    return {"name": f"{header.id}{suffix}", "namespace": namespace, "labels": labels_of(header)}


def owned_by(manifest: Manifest, owner: Manifest) -> Manifest:
    """Let an object go with another one, which the server has created."""
    metadata = owner["metadata"]
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"]}
    reference |= {"name": metadata["name"], "uid": metadata["uid"], "blockOwnerDeletion": True}
    return {**manifest, "metadata": {**manifest["metadata"], "ownerReferences": [reference]}}
