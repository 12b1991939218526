"""Checks of a job's sweep, as far as they are possible before the first trial."""

from collections.abc import Iterator

from stoker.errors import Problem
from stoker.job.architecture.custom import Custom
from stoker.job.goals import COSTS, goals_of, known_direction
from stoker.job.job import Job
from stoker.job.own_code import AnyJob
from stoker.job.resources import Elastic
from stoker.job.section import span_epochs
from stoker.job.sweep import Asha, CmaesSearch, GridSearch, Hyperband, MedianStopping, NoScheduler, Pb2, Pbt, Sweep
from stoker.job.task import TASKS
from stoker.jobfile.checks import feature_problems, metric_name_problems
from stoker.jobfile.code_sweep_checks import code_metric_problems, code_scheduler_problems
from stoker.jobfile.goal_checks import goal_problems, placed
from stoker.jobfile.overlay import SPACE
from stoker.jobfile.space.dimension import Dimension, Options, Range, text_of
from stoker.jobfile.space.reading import examine_space
from stoker.jobfile.space.samples import sample_problems
from stoker.jobfile.space.space import NotInSpace, Space
from stoker.jobfile.suggestion import did_you_mean
from stoker.jobfile.yaml_reader import Marks

CHANGEABLE = (
    "training.optimizer.lr",
    "training.optimizer.weight_decay",
    "training.optimizer.momentum",
    "training.gradient_clip",
)
"""Keys whose values a population-based scheduler can change while a trial trains."""


def sweep_problems(job: AnyJob, marks: Marks, set_by: str) -> list[Problem]:
    """Return all mistakes of a sweep; sample points are checked only if there are no others.

    Args:
        job: with a sweep; all other checks have passed.
        marks: positions of its keys.
        set_by: file name in the marks of values that were given on the command line.

    """
    assert job.sweep is not None
    space, problems = examine_space(job)
    problems += metric_problems(job) if isinstance(job, Job) else code_metric_problems(job)
    problems += length_problems(job.sweep)
    problems += worker_problems(job)
    problems += set_problems(job.sweep, marks, set_by)
    problems += search_problems(job.sweep, space)
    problems += scheduler_problems(job, space) if isinstance(job, Job) else code_scheduler_problems(job)
    if not problems:
        problems += first_problems(job.sweep, space)
        problems += sample_problems(space)
    return problems


def metric_problems(job: Job) -> Iterator[Problem]:
    """Check that every metric is recorded and has a direction."""
    assert job.sweep is not None
    goals = job.sweep.metric or ()
    split = job.dataset.split
    held_out = split != "none" and split.val > 0
    is_custom = isinstance(job.architecture, Custom)
    yield from goal_problems(goals, COSTS, "loss/val")
    for place, goal in placed(goals):
        known = known_direction(job, goal.name)
        if goal.name not in COSTS:
            guess = did_you_mean(goal.name, COSTS) if len(goals) > 1 and "/" not in goal.name else ""
            found = list(metric_name_problems(place, goal.name, job.task, held_out, is_custom))
            yield from [Problem(place, f"'{goal.name}' is not a metric{guess}")] if found and guess else found
            yield from feature_problems(place, goal.name, job.task, job.training)
            if not found and known is None and goal.direction is None:
                cure = f"set its direction: metric: {{name: {goal.name}, direction: min}}"
                yield Problem(place, f"'{goal.name}' is a term of your own loss; {cure}")
        if known and goal.direction and goal.direction != known:
            better = "larger" if known == "max" else "smaller"
            yield Problem(place, f"'{goal.name}' is better the {better} it is; leave direction out")


def length_problems(sweep: Sweep) -> Iterator[Problem]:
    """Check that the sweep has an end."""
    if sweep.trials is None and sweep.time is None and not isinstance(sweep.search, GridSearch):
        yield Problem("sweep.trials", "required unless time is given or search is grid (example: trials: 40)")


def worker_problems(job: AnyJob) -> Iterator[Problem]:
    """Check that all trials have the same number of workers."""
    if isinstance(job.resources.workers, Elastic):
        message = "all trials get the same number, so that they fit side by side"
        yield Problem("resources.workers", f"{message}; use {job.resources.least_workers}")


def set_problems(sweep: Sweep, marks: Marks, set_by: str) -> Iterator[Problem]:
    """Check that no key is both searched and set on the command line."""
    given = [path for path, mark in marks.values.items() if mark.file == set_by]
    for searched in sweep.space:
        for path in given:
            if path == searched or path.startswith(f"{searched}."):
                message = f"{path} is set by {set_by}, but {searched} is searched; remove one of them"
                yield Problem(f"{SPACE}.{searched}", message)


def search_problems(sweep: Sweep, space: Space) -> Iterator[Problem]:
    """Check that the search algorithm supports the space and the metrics."""
    ranges = [each for each in space.dimensions if isinstance(each.domain, Range)]
    if isinstance(sweep.search, GridSearch):
        for each in ranges:
            if isinstance(each.domain, Range) and each.domain.count is None:
                cure = "give it a step or a power, write a list of values, or use search: sobol"
                yield Problem(each.place, f"a grid cannot enumerate a continuous range; {cure}")
    if isinstance(sweep.search, CmaesSearch):
        if len(sweep.metric or ()) > 1:
            yield Problem("sweep.search", "cmaes supports one metric only; use tpe or gp for a list")
        if len([each for each in ranges if not each.when]) < 2:
            yield Problem("sweep.search", "cmaes needs two ranges or more that every trial has; use tpe")
    if isinstance(sweep.scheduler, (Pbt, Pb2)) and sweep.search.type not in ("random", "sobol"):
        kind = sweep.scheduler.type
        message = f"{sweep.search.type} cannot learn from trials whose values {kind} changes; use random or sobol"
        yield Problem("sweep.search", message)


def first_problems(sweep: Sweep, space: Space) -> Iterator[Problem]:
    """Check that the points to try first are in the space."""
    for index, values in enumerate(() if isinstance(sweep.search, GridSearch) else sweep.search.first):
        place = f"sweep.search.first.{index}"
        try:
            coordinates = space.coordinates_of(values)
            if (
                len(coordinates) == len(space.active(coordinates))
                and (unmet := space.unmet(space.values(coordinates))) is not None
            ):
                yield Problem(place, f"does not meet '{space.where[unmet].text}'")
        except NotInSpace as error:
            yield Problem(f"{place}.{error.path}", str(error))
        except ValueError as error:
            yield Problem(place, str(error))


def scheduler_problems(job: Job, space: Space) -> Iterator[Problem]:
    """Check the scheduler against the metric, the training duration, the workers and the space."""
    assert job.sweep is not None
    scheduler, training = job.sweep.scheduler, job.training
    if isinstance(scheduler, NoScheduler):
        return
    if len(job.sweep.metric or ()) > 1:
        yield Problem("sweep.scheduler", f"{scheduler.type} compares trials by one metric; name one, or use none")
    if isinstance(scheduler, (Asha, MedianStopping)):
        yield from _span_problems(job, "min", scheduler.min)
    if isinstance(scheduler, (Pbt, Pb2)):
        yield from _span_problems(job, "every", scheduler.every)
    if not isinstance(scheduler, (Hyperband, Pbt, Pb2)):
        return
    if job.resources.most_workers > 1:
        cure = "set resources.workers: 1, or use asha"
        message = f"{scheduler.type} pauses and exchanges trials, which needs trials of one worker; {cure}"
        yield Problem("sweep.scheduler", message)
    if training.time and not training.epochs and not training.steps:
        cure = "set training.epochs, or use asha"
        yield Problem("sweep.scheduler", f"{scheduler.type} must know how many epochs a trial has; {cure}")
    if isinstance(scheduler, (Pbt, Pb2)):
        if job.sweep.trials == 1 or (job.sweep.trials is None and job.sweep.time):
            message = f"{scheduler.type} copies trials from each other and needs 2 or more (example: trials: 8)"
            yield Problem("sweep.trials", message)
        yield from _change_problems(space, scheduler)
        yield from _exchange_problems(job, scheduler)


def _span_problems(job: Job, key: str, span: str) -> Iterator[Problem]:
    assert job.sweep is not None
    place, epochs = f"sweep.scheduler.{key}", span_epochs(span)
    limit = job.training.epochs
    if "training.epochs" in job.sweep.space:
        limit = None
    if not epochs:
        yield Problem(
            place, f"'{span}' is not a whole number of epochs, after which trials are compared (example: 2 epochs)"
        )
    elif limit is not None and epochs > limit:
        yield Problem(place, f"{span} is more than training.epochs ({limit}); use {limit} or less")


def _exchange_problems(job: Job, scheduler: Pbt | Pb2) -> Iterator[Problem]:
    """Check that trials are exchanged after epochs in which their metric is computed."""
    metric, computed = goals_of(job)[0].name, job.training.evaluate.every
    if computed is None or TASKS[job.task].measures_always(metric):
        return
    every, distance = span_epochs(scheduler.every) or 1, span_epochs(computed) or 1
    if every % distance:
        cure = f"use {distance} epochs, or a multiple of it"
        message = f"{metric} is computed every {computed}, not every {scheduler.every} (training.evaluate.every)"
        yield Problem("sweep.scheduler.every", f"{message}; {cure}")


def _change_problems(space: Space, scheduler: Pbt | Pb2) -> Iterator[Problem]:
    kind = scheduler.type
    for path, place in [(each.path, each.place) for each in space.dimensions] + [
        (each.path, f"{SPACE}.{each.path}") for each in space.derived
    ]:
        if path not in CHANGEABLE:
            cure = f"{kind} searches {', '.join(CHANGEABLE)}; use asha for others"
            yield Problem(place, f"{path} cannot change while a trial trains; {cure}")
    for each in space.dimensions:
        if each.path in CHANGEABLE and (message := _unfit_for_change(each, scheduler)):
            yield Problem(each.place, message)


def _unfit_for_change(each: Dimension, scheduler: Pbt | Pb2) -> str:
    if isinstance(scheduler, Pb2) and (isinstance(each.domain, Options) or each.domain.count is not None):
        return "pb2 needs a continuous range such as {min: 1e-4, max: 1e-1}; use it without step or power, or use pbt"
    if isinstance(each.domain, Options):
        others = [value for value in each.domain.values if not isinstance(value, (int, float))]
        if others:
            return f"{text_of(others[0])} is not a number, and {scheduler.type} changes numbers only"
    return ""
