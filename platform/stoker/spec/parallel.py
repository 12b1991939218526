"""How many trials of a sweep a machine or a cluster trains at once."""

import os

from stoker.spec.job import Job


def machine_cpus() -> int:
    """Count the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def room_for(job: Job, cpus: int, gpus: int) -> int:
    """Tell how many trials of a job fit a machine or a cluster at once; 0 where not one does.

    Args:
        job: any job; what counts is what a trial's workers take.
        cpus: its cores.
        gpus: its GPUs.

    """
    wanted = job.resources.gpus if job.resources.gpus is not None else min(1, gpus)
    room = cpus // ((job.resources.cpus or 1) * job.resources.workers)
    return min(room, gpus // (wanted * job.resources.workers)) if wanted else room


def planned_trials(job: Job, unsaid: int) -> int:
    """Tell how many trials of a sweep a cluster makes room for at once; never more than there are.

    Args:
        job: with a sweep.
        unsaid: how many where it does not say.

    """
    assert job.sweep is not None
    at_once = job.sweep.parallel or unsaid
    return min(at_once, job.sweep.trials or at_once)


def trials_at_once(job: Job, cpus: int, gpus: int) -> int:
    """Tell how many trials of a sweep train at once: as many as it says, or as fit; at least one.

    Args:
        job: with a sweep.
        cpus: cores of the machine.
        gpus: its GPUs.

    """
    assert job.sweep is not None
    return job.sweep.parallel or max(1, room_for(job, cpus, gpus))
