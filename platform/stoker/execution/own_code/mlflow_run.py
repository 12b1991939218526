"""The id of the run in MLflow, as the driver tells it to the workers of own code: it may appear after they start."""

import os
import time

WAIT_S = 30.0
"""How long a worker waits for a tracking server that does not answer."""
POLL_S = 0.05


def announce(run: str, mlflow_run: str) -> None:
    """Tell the workers of a run, by the key-value store of Ray; does nothing where Ray does not run."""
    import ray
    from ray.experimental.internal_kv import _internal_kv_put

    if ray.is_initialized():
        _internal_kv_put(_key(run), mlflow_run)


def mlflow_variables(run: str, tracked: bool) -> dict[str, str]:
    """Return what lets `mlflow.start_run()`, `log_metric` and `autolog` of the user's code find the run.

    Args:
        run: its id.
        tracked: whether it is recorded in MLflow.

    """
    if not tracked:
        return {}
    from ray.experimental.internal_kv import _internal_kv_get

    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if found := _internal_kv_get(_key(run)):
            return {"MLFLOW_RUN_ID": found.decode(), "MLFLOW_TRACKING_URI": os.environ["MLFLOW_TRACKING_URI"]}
        time.sleep(POLL_S)
    return {}


def _key(run: str) -> bytes:
    return f"stoker:{run}:mlflow_run".encode()
