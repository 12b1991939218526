"""Where a worker runs."""

import os
import socket
from dataclasses import dataclass
from functools import cache

from stoker.execution.contract import NODE, POD


@dataclass(frozen=True)
class Machine:
    """The machine of a worker."""

    name: str
    """Its host name; in a pod, the name of the Kubernetes node."""
    ray_node: str = ""
    """Its id as a node of Ray; in a pod, that of the pod."""
    pod: str = ""
    """The worker's pod; empty outside of Kubernetes."""


@cache
def this_machine() -> Machine:
    """Return the machine of this process, which is connected to Ray."""
    import ray

    name = os.environ.get(NODE) or socket.gethostname()
    return Machine(name, ray.get_runtime_context().get_node_id(), os.environ.get(POD, ""))
