"""Whether the nodes of a Ray cluster can ever hold a run's workers at once, asked before anything is made."""

import math
from collections.abc import Mapping, Sequence

from stoker.errors import JobError, Problem
from stoker.job.concurrency import ROUNDING, sharers
from stoker.job.resources import Resources
from stoker.job.section import size_bytes

Node = Mapping[str, float]
"""What a node has in all, in Ray's words: CPU, GPU, memory in bytes, accelerator_type:KIND."""
KIND = "accelerator_type:"
GIB = 2**30


def require_room(resources: Resources, nodes: Sequence[Node], trials: int = 0) -> None:
    """Refuse what could wait for ever.

    A worker takes one of Ray's CPUs, however many threads it has. Those of a sweep take as many as they have threads,
    since others of their kind train beside them.

    Args:
        resources: of the job.
        nodes: of the cluster.
        trials: how many trials of a sweep are to train at once; 0 for a run of its own.

    Raises:
        JobError: the workers do not fit, or not where they are to be.

    """
    problems = [_kind_problem(resources.accelerator, nodes)] if resources.accelerator else []
    gpus = resources.gpus
    if gpus is None:  # as the driver will choose
        there = math.floor(sum(node.get("GPU", 0) for node in nodes))
        gpus = min(1, there) if trials else min(1, there // resources.workers)
    asked = {"CPU": resources.cpus or 1 if trials else 1, "GPU": gpus}
    asked["memory"] = size_bytes(resources.memory) if resources.memory else 0
    places = sum(_places(node, asked) for node in nodes)
    if places < resources.workers * max(trials, 1):
        problems.append(_place_problem(resources, asked, places, nodes, trials))
    if found := [problem for problem in problems if problem]:
        raise JobError(found)


def _places(node: Node, asked: Node) -> int:
    """Count the workers that an empty node holds, each with so much."""
    if 0 < (share := asked["GPU"]) < 1:
        asked = {**asked, "GPU": 1 / sharers(share)}
    return min(math.floor(node.get(name, 0) / each + ROUNDING) for name, each in asked.items() if each)


def _place_problem(resources: Resources, asked: Node, places: int, nodes: Sequence[Node], trials: int) -> Problem:
    cpus, gpus = f"{asked['CPU']} CPU{'s' * (asked['CPU'] > 1)}", f", {asked['GPU']:g} GPU" if asked["GPU"] else ""
    worker = f"{cpus}{gpus}{f', {resources.memory}' if resources.memory else ''}"
    number = f"{trials} trials with {resources.workers} each" if trials > 1 else str(resources.workers)
    has = "; ".join(_node_text(node) for node in sorted(nodes, key=_size, reverse=True)[:3])
    more = f"; and {len(nodes) - 3} more" if len(nodes) > 3 else ""
    return Problem(
        "sweep.parallel" if trials > 1 else "resources.workers",
        f"the cluster holds {places} such worker{'s' * (places != 1)} at most, and {number} are asked for; "
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
