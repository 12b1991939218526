"""The environment variables of Ray Train's own processes."""

import os

RAY_SETTINGS = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # also the time between two reports
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # it prints each line twice
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",
    "RAY_WARN_BLOCKING_GET_INSIDE_ASYNC": "0",  # the controller waits for its workers in that way
}
LOCAL_SETTINGS = {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}
"""Further ones on this machine, where a watcher of nodes is one process too many."""


def set_variables(embedded: bool) -> dict[str, str]:
    """Set the variables that have no value yet, in this process; return them all.

    Args:
        embedded: whether Ray is this machine's own. Set before Ray starts, its processes inherit them.

    """
    settings = RAY_SETTINGS | LOCAL_SETTINGS if embedded else RAY_SETTINGS
    variables = {key: os.environ.get(key, value) for key, value in settings.items()}
    os.environ.update(variables)
    return variables
