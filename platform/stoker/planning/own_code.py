"""The plan of a job with own code: what is started, where, and what is sent there."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stoker.errors import JobError
from stoker.job.own_code import CodeJob
from stoker.jobfile.code import code_files
from stoker.planning.place import cluster_notes, place_of, resource_notes, resource_problems

if TYPE_CHECKING:
    from stoker.planning.sweep import SweepPlan


@dataclass(frozen=True)
class CodePlan:
    """What a job with own code would start."""

    job: CodeJob
    runs: str
    """What each worker runs, in words."""
    files: int
    """Number of files that are sent to the workers."""
    files_bytes: int
    place: str
    notes: tuple[str, ...]
    sweep: "SweepPlan | None" = None
    """What is varied, and how often."""


def plan_code(job: CodeJob, code: Path, cluster: str = "") -> CodePlan:
    """Work out a job with own code, without running any of it.

    Args:
        job: the checked job.
        code: folder of its modules.
        cluster: that will run it, in words; empty for this machine, whose cores and GPUs have to suffice.

    Raises:
        JobError: the code is too large, or the machine does not fit.

    """
    sweep = None
    if job.sweep:
        from stoker.planning.sweep import plan_points, room_problems  # imports torch, which a single run does not need

        if not cluster and (problems := list(room_problems(job))):
            raise JobError(problems)
        sweep = plan_points(job, on_cluster=bool(cluster))
    if not cluster and (problems := list(resource_problems(job.resources))):
        raise JobError(problems)
    files = code_files(code)
    entry = job.entry
    if entry.function:
        runs = f"{job.entrypoint}, a training function, by Ray Train"
    else:
        runs = f"{' '.join(entry.script)}, a script, as torchrun starts it"
    return CodePlan(
        job=job,
        runs=runs,
        files=len(files),
        files_bytes=sum(file.stat().st_size for file in files),
        place=place_of(job.resources, cluster),
        notes=() if cluster else (*resource_notes(job.resources), *cluster_notes(job)),
        sweep=sweep,
    )
