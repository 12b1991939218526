"""Deletes the RayJobs of runs that ended long ago, as the chart's CronJob does; MLflow keeps their record.

python -m stoker.clusters.kubernetes.retention DAYS     in the namespace that NAMESPACE names
"""

import os
import sys
import time

from stoker.clusters.kubernetes.api import KubeApi
from stoker.clusters.kubernetes.metadata import Manifest, seconds
from stoker.clusters.kubernetes.states.run_observer import status_of
from stoker.settings import ClusterSettings
from stoker.tracking.run import RunStatus

DAY_S = 86400.0


def ended_before(rayjob: Manifest, time_s: float) -> bool:
    """Return whether a run ended, or was left, before a time in seconds since 1970; its checkpoints stay."""
    end = rayjob.get("status", {}).get("endTime")
    status, _ = status_of(rayjob, RunStatus())
    return bool(end) and seconds(end) < time_s and status.state.ended


def delete_ended_runs(api: KubeApi, days: float) -> list[str]:
    """Delete the RayJobs of runs that ended so many days ago, and return their names."""
    names = [each["metadata"]["name"] for each in api.rayjobs() if ended_before(each, time.time() - days * DAY_S)]
    for name in names:
        api.delete(name)
    return names


if __name__ == "__main__":
    cluster = ClusterSettings("here", namespace=os.environ["NAMESPACE"])
    for name in delete_ended_runs(KubeApi(cluster), float(sys.argv[1])):
        print(f"deleted {name}")  # noqa: T201 - the log of the CronJob
