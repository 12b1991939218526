"""How many trials of a sweep a machine or a cluster trains at once."""

import math
import os
import sys
from contextlib import suppress
from pathlib import Path

from stoker.job.job import Job

CGROUP = Path("/sys/fs/cgroup")
CPU_LIMITS = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))
"""Microseconds of processor time, and of the period in which it may be used: what Kubernetes makes of a CPU limit; new
kernels have both in one file, old ones in two."""
ROUNDING = 1e-9
"""A third, written as 0.3333333333, is a third."""


def machine_cpus() -> int:
    """Count the cores this process may use; of a container's, whole ones."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for files in CPU_LIMITS:
        with suppress(OSError, ValueError):  # of another kind of kernel, or `max`
            quota, period = (int(word) for file in files for word in (CGROUP / file).read_text().split())
            if quota > 0:  # -1 is no limit
                cores = max(1, min(cores, quota // period))
    return cores


def room_for(job: Job, cpus: int, gpus: int | None) -> int:
    """Tell how many trials of a job fit a machine or a cluster at once; 0 where not one does.

    Args:
        job: any job; what counts is what a trial's workers take.
        cpus: its cores.
        gpus: its GPUs; None where they are counted later.

    """
    room = cpus // ((job.resources.cpus or 1) * job.resources.workers)
    return room if gpus is None else min(room, gpu_room(job, gpus))


def gpu_room(job: Job, gpus: int) -> int:
    """Tell how many trials of a job so many GPUs have room for; any number where they take none."""
    wanted = job.resources.gpus if job.resources.gpus is not None else min(1, gpus)
    return gpus * sharers(wanted) // job.resources.workers if wanted else sys.maxsize


def sharers(share: float) -> int:
    """Tell how many workers share a GPU of which each takes so much."""
    return math.floor(1 / share + ROUNDING)


def planned_trials(job: Job, unsaid: int) -> int:
    """Tell how many trials of a sweep a cluster makes room for at once; never more than there are.

    Args:
        job: with a sweep.
        unsaid: how many where it does not say.

    """
    assert job.sweep is not None
    at_once = job.sweep.parallel or unsaid
    return min(at_once, job.sweep.trials or at_once)


def trials_at_once(job: Job, cpus: int, gpus: int | None) -> int:
    """Tell how many trials of a sweep train at once: as many as it says, or as fit; at least one.

    Args:
        job: with a sweep.
        cpus: cores of the machine.
        gpus: its GPUs; None where they are counted later.

    """
    assert job.sweep is not None
    return job.sweep.parallel or max(1, room_for(job, cpus, gpus))
