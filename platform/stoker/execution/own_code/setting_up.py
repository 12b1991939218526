"""What own code finds when it starts: its modules, the environment of the job, and its data."""

import os
import socket
import sys
from pathlib import Path

import psutil
import ray

from stoker.datasets.cache import local_path
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


def network_variables() -> dict[str, str]:
    """Return what binds gloo and NCCL to this node's network interface, which the host name need not resolve to."""
    address = ray.util.get_node_ip_address()
    for name, addresses in psutil.net_if_addrs().items():
        if any(known.family == socket.AF_INET and known.address == address for known in addresses):
            found = {"GLOO_SOCKET_IFNAME": name, "NCCL_SOCKET_IFNAME": name}
            return {key: os.environ.get(key, value) for key, value in found.items()}
    return {}
