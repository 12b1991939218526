"""The resolved job file: every default and measured choice, reused by all attempts of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stoker.atomic_files import replace_file
from stoker.job.job import Job
from stoker.job.own_code import AnyJob
from stoker.jobfile.loading import dump_job, load_job
from stoker.jobfile.space.point import point_job
from stoker.tracking.run_folder import RunFolder


def load_run_job(folder: RunFolder) -> AnyJob:
    """Return the job of a run as an earlier attempt has resolved it, or as it was submitted.

    Raises:
        JobError: the file is not that of a job.

    """
    return load_job(folder.resolved if folder.resolved.exists() else folder.job).job


def write_resolved(path: Path, job: AnyJob, fingerprint: str) -> None:
    """Write the resolved job and the fingerprint of its data, which is empty for own code."""
    _write(path, f"# data: sha256 {fingerprint}\n" if fingerprint else "# own code\n", job)


def halve_micro_batch(path: Path) -> int | None:
    """Halve the micro-batch for the next attempts; return it, or None if it is 1 already."""
    note = path.read_text(encoding="utf-8").splitlines(keepends=True)[0]
    job = smaller_micro_batch(load_job(path).task_job)
    if job is None:
        return None
    _write(path, note, job)
    return job.training.micro_batch


def apply_values(path: Path, values: Mapping[str, Any]) -> None:
    """Change values of the job, by path, for the next attempts."""
    note = path.read_text(encoding="utf-8").splitlines(keepends=True)[0]
    _write(path, note, point_job(load_job(path).job, values))


def micro_batch(job: Job) -> int:
    """Return the largest number of samples that a worker computes at once; the job's batch size is set."""
    assert job.training.batch_size is not None
    share = -(-job.training.batch_size // job.resources.most_workers)
    return min(job.training.micro_batch or share, share)


def smaller_micro_batch(job: Job) -> Job | None:
    """Return the job with half its micro-batch and the same global batch; None if the micro-batch is 1 already."""
    half = micro_batch(job) // 2
    if half == 0:
        return None
    return job.model_copy(update={"training": job.training.model_copy(update={"micro_batch": half})})


def _write(path: Path, note: str, job: AnyJob) -> None:
    replace_file(path, note + dump_job(job))
