"""Turns a point of a sweep into the job of one trial, checked like any other job."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from stoker.errors import JobError, Problem
from stoker.job.goals import best_metric
from stoker.job.job import Job
from stoker.job.task import TASKS
from stoker.jobfile.checks import check, parts_of
from stoker.jobfile.error_messages import problems_of
from stoker.jobfile.overlay import merged, written_out
from stoker.jobfile.yaml_reader import Marks


def point_job(job: Job, values: Mapping[str, Any]) -> Job:
    """Return the job of the trial at a point; the data are not looked at.

    Args:
        job: with its sweep.
        values: by dotted path of the job, as a job file would write them.

    Raises:
        JobError: it is no job; the paths of the problems are those of the job.

    """
    try:
        trial = Job.model_validate(laid_out(job, values))
    except ValidationError as error:
        raise JobError(problems_of(error, Marks())) from error
    if problems := check(parts_of(trial)):
        raise JobError(problems)
    return trial


def laid_out(job: Job, values: Mapping[str, Any]) -> dict[str, Any]:
    """Lay the values of a point over those of the job, without its sweep; unchecked."""
    below = job.model_dump(by_alias=True, exclude_none=True, exclude={"sweep"})
    if job.architecture is None and any(path.startswith("architecture.") for path in values):
        below["architecture"] = {"family": TASKS[job.task].families[0]}
    if job.training.checkpoint.best is None and (best := best_metric(job)):
        below["training"]["checkpoint"]["best"] = best
    return merged(_nested(values), below)


def value_at(values: Any, path: str) -> Any:
    """Return what stands at a dotted path, None where nothing does; lists as lists."""
    for part in path.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return list(values) if isinstance(values, tuple) else values


def plain_values(job: Job, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return all values of a point's job with its defaults; without them where the point is no job."""
    laid = laid_out(job, values)
    try:
        return Job.model_validate(laid).model_dump(by_alias=True)
    except ValidationError:
        return laid


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Write dotted paths as objects; a longer path goes into the object of a shorter one."""
    result: dict[str, Any] = {}
    for path in sorted(values, key=lambda path: path.count(".")):
        target = result
        *above, last = path.split(".")
        for end, part in enumerate(above, 1):
            inner = written_out(target.get(part), ".".join(above[:end]))
            target[part] = target = dict(inner) if isinstance(inner, Mapping) else {}
        target[last] = values[path]
    return result


def located_in(problem: Problem, paths: list[str]) -> str | None:
    """Return which of the searched paths a problem of a trial's job lies at, the longest; None where at none."""
    around = [each for each in paths if f"{problem.path}.".startswith(f"{each}.")]
    return max(around, key=len, default=None)
