"""What Ray Train writes about its checkpoints to the run's storage."""

import json
from typing import Any

from stoker.errors import NotFound
from stoker.storage import Storage

NAME = "ray_train"
"""Of Ray's own folder among the run's checkpoints."""
SNAPSHOT = f"{NAME}/checkpoint_manager_snapshot.json"
"""Where Ray writes, with each checkpoint, the number of reports up to it."""


def reports_before(storage: Storage) -> int:
    """Return the number of reports up to the checkpoint from which Ray Train goes on; 0 without one."""
    snapshot = _snapshot(storage)
    return int(snapshot["current_report_index"]) if snapshot.get("latest_checkpoint_result") else 0


def newest_checkpoint(storage: Storage) -> str:
    """Return the folder of Ray's newest checkpoint in the storage; empty without one."""
    newest = _snapshot(storage).get("latest_checkpoint_result")
    return f"{NAME}/{newest['checkpoint_dir_name']}" if newest else ""


def _snapshot(storage: Storage) -> dict[str, Any]:
    try:
        return dict(json.loads(storage.get(SNAPSHOT)))
    except NotFound:
        return {}
