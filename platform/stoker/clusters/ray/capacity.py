"""Whether the nodes of a Ray cluster could ever hold a run's workers at once, checked before anything is created."""

import math
from collections.abc import Mapping, Sequence

from stoker.errors import JobError, Problem
from stoker.job.concurrency import ROUNDING, workers_per_gpu
from stoker.job.resources import Resources
from stoker.job.section import size_bytes

Node = Mapping[str, float]
"""Total resources of a node by Ray's names: CPU, GPU, memory in bytes, accelerator_type:KIND."""
KIND = "accelerator_type:"
GIB = 2**30
SHOWN_NODES = 3


def require_capacity(resources: Resources, nodes: Sequence[Node], trials: int = 0) -> None:
    """Raise if the workers could wait forever.

    A worker of a single run takes one Ray CPU, however many threads it has. A worker of a sweep takes as many as it has
    threads, since other trials train beside it.

    Args:
        resources: of the job.
        nodes: of the cluster.
        trials: concurrent trials of a sweep; 0 for a single run.

    Raises:
        JobError: the workers do not fit, or the cluster does not have the requested kind of GPU.

    """
    problems = [_kind_problem(resources.accelerator, nodes)] if resources.accelerator else []
    gpus = resources.gpus
    if gpus is None:  # the driver chooses in the same way
        available = math.floor(sum(node.get("GPU", 0) for node in nodes))
        gpus = min(1, available) if trials else min(1, available // resources.least_workers)
    request = {"CPU": resources.cpus or 1 if trials else 1, "GPU": gpus}
    request["memory"] = size_bytes(resources.memory) if resources.memory else 0
    places = sum(_places(node, request) for node in nodes)
    if places < resources.least_workers * max(trials, 1):
        problems.append(_place_problem(resources, request, places, nodes, trials))
    if found := [problem for problem in problems if problem]:
        raise JobError(found)


def _places(node: Node, request: Node) -> int:
    """Return how many workers with this request an empty node holds."""
    if 0 < (share := request["GPU"]) < 1:
        request = {**request, "GPU": 1 / workers_per_gpu(share)}
    return min(math.floor(node.get(name, 0) / each + ROUNDING) for name, each in request.items() if each)


def _place_problem(resources: Resources, request: Node, places: int, nodes: Sequence[Node], trials: int) -> Problem:
    cpus = f"{request['CPU']} CPU{'s' * (request['CPU'] > 1)}"
    gpus = f", {request['GPU']:g} GPU" if request["GPU"] else ""
    worker = f"{cpus}{gpus}{f', {resources.memory}' if resources.memory else ''}"
    workers = resources.least_workers
    number = f"{trials} trials with {workers} each" if trials > 1 else str(workers)
    has = "; ".join(_node_text(node) for node in sorted(nodes, key=_size, reverse=True)[:SHOWN_NODES])
    more = f"; and {len(nodes) - SHOWN_NODES} more" if len(nodes) > SHOWN_NODES else ""
    return Problem(
        "sweep.parallel" if trials > 1 else "resources.workers",
        f"the cluster holds at most {places} such worker{'s' * (places != 1)}, and the job asks for {number}; "
        f"each takes {worker}, and the nodes have {has}{more}",
    )


def _node_text(node: Node) -> str:
    gpus = f", {node['GPU']:g} GPUs" if node.get("GPU") else ""
    return f"{node.get('CPU', 0):g} CPUs{gpus}, {node.get('memory', 0) / GIB:.1f} GiB"


def _size(node: Node) -> tuple[float, float, float]:
    return node.get("GPU", 0), node.get("CPU", 0), node.get("memory", 0)


def _kind_problem(kind: str, nodes: Sequence[Node]) -> Problem | None:
    """Return a problem unless all GPUs of the cluster are of this kind: Ray may assign any of them."""
    kinds = sorted({name.removeprefix(KIND) for node in nodes for name in node if name.startswith(KIND)})
    if kinds == [kind]:
        return None
    has = f"the cluster's GPUs are {' and '.join(kinds)}" if kinds else "no node of the cluster reports a kind of GPU"
    return Problem("resources.accelerator", f"{has}, and a worker may get any of them; leave it out")
