"""Names of the tags of MLflow runs, and MLflow's run statuses.

Without an import of MLflow, because cluster clients read the tags over HTTP.
"""

RUN_TAG = "stoker.run"
"""The run's id, by which it is found in MLflow."""
HEADER_TAG = "stoker.header"
"""The run's header, as JSON, from which another home knows a run whose objects are gone from its cluster."""
STATE_TAG = "stoker.state"
CAUSE_TAG = "stoker.cause"
ATTEMPTS_TAG = "stoker.attempts"
RESULT_TAG = "stoker.result"
"""Results of the best weights, as JSON; the metrics' last values are those of the last step."""
STATUS = {"SUCCEEDED": "FINISHED", "PRUNED": "FINISHED", "FAILED": "FAILED", "CANCELLED": "KILLED"}
"""MLflow's status of each final state."""
PARENT_TAG = "mlflow.parentRunId"
"""Of a trial: MLflow run id of its sweep."""
VALUES_TAG = "stoker.values"
"""Of a trial: its values by path in the job, as JSON; unlike parameters, tags may change."""
