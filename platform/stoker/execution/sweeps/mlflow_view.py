"""The table of a sweep's trials in MLflow: its child runs, the best first, with the swept parameters as columns.

MLflow opens such a view from an experiment tag, in the format of its "share" button, which may change with its version.
If MLflow does not understand the view, its link opens the experiment.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from stoker.execution.sweeps.child_run_sync import best_so_far
from stoker.tracking.parameters import REFUSED_IN_NAMES
from stoker.tracking.tags import PARENT_TAG, STATE_TAG

if TYPE_CHECKING:
    from stoker.tracking.mlflow_run import MlflowRun

VIEW_TAG = "mlflow.sharedViewState."
MAX_COLUMNS = 30


def publish_view(page: "MlflowRun", sweep_id: str, metrics: Sequence[str], direction: str, paths: Sequence[str]) -> str:
    """Store a sweep's view in its experiment, and return the view's address relative to the server's.

    Args:
        page: the sweep's MLflow run.
        sweep_id: id of the sweep.
        metrics: of the sweep, the most important first.
        direction: of the first metric, `max` or `min`.
        paths: swept parameters, by path in the job.

    Raises:
        OSError: the server is down.

    """
    from stoker.tracking.mlflow_run import outages_as_oserror

    with outages_as_oserror():
        page.client.set_experiment_tag(
            page.experiment_id, VIEW_TAG + sweep_id, view_state(page.run_id, metrics, direction, paths)
        )
    return view_link(page.experiment_id, sweep_id)


def view_link(experiment_id: str, sweep_id: str) -> str:
    """Return the link to a sweep's view, relative to the server's address."""
    query = {"workflowType": "machine_learning", "viewStateShareKey": sweep_id}
    return f"/#/experiments/{experiment_id}/runs?{urlencode(query)}"


def view_state(parent: str, metrics: Sequence[str], direction: str, paths: Sequence[str]) -> str:
    """Return the view's state; sorted by a metric, MLflow lists child runs side by side instead of nesting them."""
    names = [REFUSED_IN_NAMES.sub("_", path) for path in paths]
    columns = [
        *(f"metrics.`{name}`" for metric in metrics for name in (best_so_far(metric), metric)),
        *(f"params.`{name}`" for name in names),
        f"tags.`{STATE_TAG}`",
        "attributes.`Duration`",
    ]
    state = {
        "orderByKey": f"metrics.`{best_so_far(metrics[0])}`",
        "orderByAsc": direction == "min",
        "searchFilter": f"tags.`{PARENT_TAG}` = '{parent}'",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "runsHiddenMode": "SHOWALL",
        "hideEmptyCharts": True,
        "selectedColumns": columns[:MAX_COLUMNS],
    }
    return json.dumps(state)
