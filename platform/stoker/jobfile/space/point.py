"""The job of a trial, built from a point of the search space and checked like any other job."""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from stoker.errors import JobError, Problem
from stoker.job.goals import best_metric
from stoker.job.own_code import AnyJob, CodeJob
from stoker.job.task import TASKS
from stoker.jobfile.checks import check, sections_of
from stoker.jobfile.error_messages import problems_of
from stoker.jobfile.overlay import expand_shorthand, merge_values
from stoker.jobfile.yaml_reader import Marks

JobKind = TypeVar("JobKind", bound=AnyJob)


def point_job(job: JobKind, values: Mapping[str, Any]) -> JobKind:
    """Return the job of the trial at a point; the data is not checked.

    Args:
        job: with its sweep.
        values: of the point, by dotted path of the job, as in a job file.

    Raises:
        JobError: the point is not a valid job; the problems have paths of the job.

    """
    kind = type(job)
    try:
        trial = kind.model_validate(trial_values(job, values))
    except ValidationError as error:
        raise JobError(problems_of(error, Marks(), kind)) from error
    if problems := check(sections_of(trial)):
        raise JobError(problems)
    return cast("JobKind", trial)


def trial_values(job: AnyJob, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the job's values without its sweep, with those of a point merged over them; not validated."""
    below = job.model_dump(by_alias=True, exclude_none=True, exclude={"sweep"})
    if isinstance(job, CodeJob):
        return merge_values(_nested(values), below)
    if job.architecture is None and any(path.startswith("architecture.") for path in values):
        below["architecture"] = {"family": TASKS[job.task].families[0]}
    if job.training.checkpoint.best is None and (best := best_metric(job)):
        below["training"]["checkpoint"]["best"] = best
    return merge_values(_nested(values), below)


def value_at(values: Any, path: str) -> Any:
    """Return the value at a dotted path, tuples as lists; None if there is none."""
    for part in path.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return list(values) if isinstance(values, tuple) else values


def resolved_values(job: AnyJob, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return all values of a point's job, with defaults unless the point is not a valid job."""
    laid = trial_values(job, values)
    try:
        return type(job).model_validate(laid).model_dump(by_alias=True)
    except ValidationError:
        return laid


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested objects for dotted paths; a longer path is merged into the object of a shorter one."""
    result: dict[str, Any] = {}
    for path in sorted(values, key=lambda path: path.count(".")):
        target = result
        *above, last = path.split(".")
        for end, part in enumerate(above, 1):
            inner = expand_shorthand(target.get(part), ".".join(above[:end]))
            target[part] = target = dict(inner) if isinstance(inner, Mapping) else {}
        target[last] = values[path]
    return result


def enclosing_path(problem: Problem, paths: list[str]) -> str | None:
    """Return the longest of the searched paths that contains the key of a problem; None if none does."""
    around = [each for each in paths if f"{problem.path}.".startswith(f"{each}.")]
    return max(around, key=len, default=None)
