"""What own code finds when it starts: its modules, the environment of the job, and its data."""

import os
import sys
from pathlib import Path

from stoker.datasets.cache import local_path
from stoker.execution.network import network_variables
from stoker.execution.own_code.mlflow_run import mlflow_variables
from stoker.job.own_code import CodeJob
from stoker.tracking.run import RunHeader

DATASET = "STOKER_DATASET"


def own_environment(job: CodeJob, header: RunHeader, attempt: int, code: Path) -> dict[str, str]:
    """Return the environment variables of a worker that runs own code; the data is fetched to this node.

    Args:
        job: of the run.
        header: of the run.
        attempt: counted from 1.
        code: folder of the user's modules.

    Raises:
        JobError: the data does not exist.
        StorageError: access to it is denied, or the disk is full.
        Unreachable: a server does not answer.

    """
    variables = dict(job.environment.env)
    paths = [str(code), variables.get("PYTHONPATH") or os.environ.get("PYTHONPATH", "")]
    variables |= {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "STOKER_RUN": header.id,
        "STOKER_ATTEMPT": str(attempt),
        **network_variables(),
        **mlflow_variables(header.id, bool(header.tracking_uri)),
    }
    if job.dataset:
        variables[DATASET] = str(local_path(job.dataset.source).absolute())
    return variables


def apply(variables: dict[str, str], code: Path) -> None:
    """Set environment variables in this process, and make the user's modules importable."""
    os.environ.update(variables)
    if str(code) not in sys.path:
        sys.path.insert(0, str(code))
