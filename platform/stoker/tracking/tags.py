"""What the tags of a run's page in MLflow are called, and MLflow's words for how a run stands.

Who writes them has MLflow loaded; a client of a cluster reads them over HTTP and has not.
"""

RUN_TAG = "stoker.run"
"""The run's id, by which its page is found again."""
STATE_TAG = "stoker.state"
CAUSE_TAG = "stoker.cause"
ATTEMPTS_TAG = "stoker.attempts"
RESULT_TAG = "stoker.result"
"""The results of the best weights, as JSON: the page's own metrics are those of the last step."""
STATUS = {"SUCCEEDED": "FINISHED", "PRUNED": "FINISHED", "FAILED": "FAILED", "CANCELLED": "KILLED"}
"""Our final states, and MLflow's words for them."""
PARENT_TAG = "mlflow.parentRunId"
"""Of a trial's page: MLflow's id of its sweep's page."""
VALUES_TAG = "stoker.values"
"""Of a trial's page: its values by path in the job, as JSON; they may change in mid-run, and parameters may not."""
