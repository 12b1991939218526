"""Where a job runs: what its workers get of this machine, or ask a cluster for."""

from collections.abc import Iterator

import torch

from stoker.errors import Problem
from stoker.job.concurrency import machine_cpus
from stoker.job.own_code import AnyJob
from stoker.job.resources import Resources

CLUSTER_KEYS = ("workers_per_node", "memory", "accelerator", "queue", "priority")


def cluster_notes(job: AnyJob) -> Iterator[str]:
    """Name what only a cluster can do."""
    asked = {f"resources.{key}": getattr(job.resources, key) for key in CLUSTER_KEYS}
    asked |= {f"environment.{key}": getattr(job.environment, key) for key in ("image", "packages", "pod")}
    asked |= {"resources.workers.min": job.resources.least_workers < job.resources.most_workers}
    if idle := [key for key, value in asked.items() if value]:
        yield f"{', '.join(idle)}: without effect on this machine, a cluster heeds {'it' if len(idle) == 1 else 'them'}"


def resource_problems(resources: Resources) -> Iterator[Problem]:
    """Compare what is asked for with this machine."""
    gpus, cpus, workers = torch.cuda.device_count(), machine_cpus(), resources.most_workers
    if resources.gpus and workers * resources.gpus > gpus:
        wanted = f"{resources.gpus:g}" if workers == 1 else f"{resources.gpus:g} for each of {workers} workers"
        most = int(gpus // resources.gpus)
        cure = f"use 0, or at most {counted(most, 'worker')}" if most else f"use at most {gpus}" if gpus else "use 0"
        yield Problem("resources.gpus", f"{wanted} asked for, this machine has {gpus}; {cure}")
    if resources.cpus and resources.cpus > cpus:
        yield Problem("resources.cpus", f"{resources.cpus} asked for, this machine has {cpus}; use at most {cpus}")


def resource_notes(resources: Resources) -> Iterator[str]:
    """Warn of workers that take turns on the cores."""
    cores = machine_cpus()
    if resources.most_workers * _cpus(resources) > cores:
        workers = f"{counted(resources.most_workers, 'worker')} with {counted(_cpus(resources), 'CPU')} each"
        yield f"resources: {workers} share {counted(cores, 'core')}, and wait for each other"


def counted_workers(resources: Resources) -> str:
    """Return the number of workers in words."""
    least, most = resources.least_workers, resources.most_workers
    return counted(most, "worker") if least == most else f"{least} to {counted(most, 'worker')}"


def place_of(resources: Resources, cluster: str) -> str:
    """Return where a job runs, and what its workers get or ask for.

    Args:
        resources: of the job.
        cluster: in words; empty for this machine.

    """
    gpus = gpus_of_worker(resources, cluster)
    resources = resources.model_copy(update={"gpus": gpus})
    return _cluster_place(resources, cluster) if cluster else _place(resources)


def _place(resources: Resources) -> str:
    """Say what the workers get of this machine; threads of CPU workers may turn out to be fewer than that."""
    cpus, each = _cpus(resources), " each" if resources.most_workers > 1 else ""
    share = f"{'' if resources.cpus or cpus == 1 else 'up to '}{counted(cpus, 'CPU')}{each}"
    gpus = f"{_gpus(resources.gpus)}{each}" if resources.gpus else "no GPU"
    return f"this machine: embedded Ray, {counted(resources.most_workers, 'worker')}, {share}, {gpus}"


def _cluster_place(resources: Resources, cluster: str) -> str:
    """Return what the workers ask a cluster for."""
    each = " each" if resources.most_workers > 1 else ""
    wanted = [f"{counted(resources.cpus, 'CPU')}{each}" if resources.cpus else "CPUs by the cluster's default"]
    wanted.append(f"{_gpus(resources.gpus)}{each}" if resources.gpus else "no GPU")
    wanted += [f"memory {resources.memory}{each}"] if resources.memory else []
    nodes = f", {resources.workers_per_node} on a node" if resources.workers_per_node else ""
    return f"{cluster}: {counted_workers(resources)}{nodes}, {', '.join(wanted)}"


def gpus_of_worker(resources: Resources, cluster: str) -> float:
    """Return the GPUs of a worker: those that the job names, or one each where there are enough."""
    if resources.gpus is not None:
        return resources.gpus
    if cluster:
        return int(bool(resources.accelerator))
    return int(torch.cuda.device_count() >= resources.most_workers)


def _gpus(share: float) -> str:
    return counted(int(share), "GPU") if share >= 1 else f"{share:g} of a GPU"


def _cpus(resources: Resources) -> int:
    return resources.cpus or max(1, machine_cpus() // resources.most_workers)


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun; with an `s` where no plural is given."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
