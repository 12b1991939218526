"""The id of the run in MLflow, as the driver tells it to the workers of own code: it may appear after they start."""

import os
import time

KEY = b"stoker:mlflow_run"
"""In the key-value store of the Ray session, or cluster; a cluster serves one run."""
WAIT_S = 30.0
"""How long a worker waits for a tracking server that does not answer."""
POLL_S = 0.05


def announce(mlflow_run: str) -> None:
    """Tell the workers; does nothing where Ray does not run."""
    import ray
    from ray.experimental.internal_kv import _internal_kv_put

    if ray.is_initialized():
        _internal_kv_put(KEY, mlflow_run)


def mlflow_variables(tracked: bool) -> dict[str, str]:
    """Return what lets `mlflow.start_run()`, `log_metric` and `autolog` of the user's code find the run.

    Args:
        tracked: whether the run is recorded in MLflow.

    """
    if not tracked:
        return {}
    from ray.experimental.internal_kv import _internal_kv_get

    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if found := _internal_kv_get(KEY):
            return {"MLFLOW_RUN_ID": found.decode(), "MLFLOW_TRACKING_URI": os.environ["MLFLOW_TRACKING_URI"]}
        time.sleep(POLL_S)
    return {}
