"""Whether the nodes of a Ray cluster can ever hold a run's workers at once, asked before anything is made."""

import math
from collections.abc import Mapping, Sequence

from stoker.errors import JobError, Problem
from stoker.spec.resources import Resources
from stoker.spec.section import size_bytes

Node = Mapping[str, float]
"""What a node has in all, in Ray's words: CPU, GPU, memory in bytes, accelerator_type:KIND."""
KIND = "accelerator_type:"
GIB = 2**30


def require_room(resources: Resources, nodes: Sequence[Node]) -> None:
    """Refuse what could wait for ever. A worker takes one of Ray's CPUs, however many threads it has.

    Args:
        resources: of the job.
        nodes: of the cluster.

    Raises:
        JobError: the workers do not fit, or not where they are to be.

    """
    problems = [_kind_problem(resources.accelerator, nodes)] if resources.accelerator else []
    gpus = resources.gpus
    if gpus is None:  # as the driver will choose
        gpus = min(1, math.floor(sum(node.get("GPU", 0) for node in nodes)) // resources.workers)
    memory = size_bytes(resources.memory) if resources.memory else 0
    places = sum(_places(node, gpus, memory) for node in nodes)
    if places < resources.workers:
        problems.append(_place_problem(resources, gpus, places, nodes))
    if found := [problem for problem in problems if problem]:
        raise JobError(found)


def _places(node: Node, gpus: int, memory: int) -> int:
    """Count the workers that an empty node holds."""
    asked = {"CPU": 1, "GPU": gpus, "memory": memory}
    return min(math.floor(node.get(name, 0) / each) for name, each in asked.items() if each)


def _place_problem(resources: Resources, gpus: int, places: int, nodes: Sequence[Node]) -> Problem:
    worker = f"1 CPU{f', {gpus} GPU' if gpus else ''}{f', {resources.memory}' if resources.memory else ''}"
    has = "; ".join(_node_text(node) for node in sorted(nodes, key=_size, reverse=True)[:3])
    more = f"; and {len(nodes) - 3} more" if len(nodes) > 3 else ""
    return Problem(
        "resources.workers",
        f"the cluster holds {places} such worker{'s' * (places != 1)} at most, and {resources.workers} are asked for; "
        f"each takes {worker}, and its nodes have {has}{more}",
    )


def _node_text(node: Node) -> str:
    gpus = f", {node['GPU']:g} GPUs" if node.get("GPU") else ""
    return f"{node.get('CPU', 0):g} CPUs{gpus}, {node.get('memory', 0) / GIB:.1f} GiB"


def _size(node: Node) -> tuple[float, float, float]:
    return node.get("GPU", 0), node.get("CPU", 0), node.get("memory", 0)


def _kind_problem(kind: str, nodes: Sequence[Node]) -> Problem | None:
    """Refuse a kind of GPU that a worker might not get: Ray gives it any of the cluster's."""
    kinds = sorted({name.removeprefix(KIND) for node in nodes for name in node if name.startswith(KIND)})
    if kinds == [kind]:
        return None
    has = (
        f"the cluster's GPUs are {' and '.join(kinds)}"
        if kinds
        else "no node of the cluster tells the kind of its GPUs"
    )
    return Problem("resources.accelerator", f"{has}, and a worker there gets any; leave it out")
