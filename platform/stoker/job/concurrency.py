"""The number of trials of a sweep that a machine or a cluster can train at the same time."""

import math
import os
import sys
from contextlib import suppress
from pathlib import Path

from stoker.job.own_code import AnyJob

CGROUP = Path("/sys/fs/cgroup")
CPU_LIMITS = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))
"""Files with the CPU quota and its period in microseconds, by which Kubernetes enforces a CPU limit: one file in cgroup
v2, two in v1."""
ROUNDING = 1e-9
"""Tolerance for fractions such as 0.3333333333, which means a third."""


def machine_cpus() -> int:
    """Return the number of whole cores that this process may use, with the CPU limit of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for files in CPU_LIMITS:
        with suppress(OSError, ValueError):  # files of the other cgroup version, or the quota `max`
            quota, period = (int(word) for file in files for word in (CGROUP / file).read_text().split())
            if quota > 0:  # -1 means no limit
                cores = max(1, min(cores, quota // period))
    return cores


def trials_that_fit(job: AnyJob, cpus: int, gpus: int | None) -> int:
    """Return the number of trials of a job that fit a machine or a cluster at the same time; 0 if none does.

    Args:
        job: its `resources` are those of each trial.
        cpus: cores of the machine or cluster.
        gpus: GPUs of the machine or cluster; None if they are not known yet.

    """
    fitting = cpus // ((job.resources.cpus or 1) * job.resources.most_workers)
    return fitting if gpus is None else min(fitting, trials_that_fit_gpus(job, gpus))


def trials_that_fit_gpus(job: AnyJob, gpus: int) -> int:
    """Return the number of trials of a job for which the GPUs suffice; unlimited if trials use no GPU."""
    per_worker = job.resources.gpus if job.resources.gpus is not None else min(1, gpus)
    if per_worker > 1:
        return gpus // int(per_worker) // job.resources.most_workers
    return gpus * workers_per_gpu(per_worker) // job.resources.most_workers if per_worker else sys.maxsize


def workers_per_gpu(share: float) -> int:
    """Return the number of workers that share a GPU, each with this share of it."""
    return math.floor(1 / share + ROUNDING)


def planned_trials(job: AnyJob, default: int) -> int:
    """Return the number of trials for which a cluster allocates resources; at most the number of trials.

    Args:
        job: with a sweep.
        default: number where the job does not set `sweep.parallel`.

    """
    assert job.sweep is not None
    at_once = job.sweep.parallel or default
    return min(at_once, job.sweep.trials or at_once)


def trials_at_once(job: AnyJob, cpus: int, gpus: int | None) -> int:
    """Return the number of trials that train at the same time: `sweep.parallel`, else as many as fit; at least 1.

    Args:
        job: with a sweep.
        cpus: cores of the machine or cluster.
        gpus: GPUs of the machine or cluster; None if they are not known yet.

    """
    assert job.sweep is not None
    return job.sweep.parallel or max(1, trials_that_fit(job, cpus, gpus))
