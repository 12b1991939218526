"""Which keys of a job a sweep can search, and what each of them may hold."""

from collections.abc import Mapping, Sequence

from stoker.job.architecture.custom import Custom
from stoker.job.job import Job
from stoker.job.section import Section
from stoker.job.task import TASKS
from stoker.jobfile.language import Shape, keys_of, walk
from stoker.jobfile.overlay import CHOICES
from stoker.jobfile.suggestion import closest, did_you_mean

_FIXED = {
    # first key: why no trial may have its own
    "version": "it is the same for the whole file",
    "name": "a trial's name comes from the sweep's",
    "task": "trials of different tasks cannot be compared",
    "sweep": "a sweep does not search itself",
    "tracking": "all trials are recorded in one place",
    "resources": "all trials get the same resources, so that they fit side by side",
    "environment": "all trials run in the same processes",
}


def searched_shape(path: str, job: Job, tags: Mapping[str, Sequence[str]]) -> Shape:
    """Return what a searched key may hold; an empty shape for a setting of the user's own network.

    Args:
        path: dotted, in the job.
        job: whose choices decide which keys there are.
        tags: of choices that are searched themselves, which options a trial may have.

    Raises:
        ValueError: the key cannot be searched; the message says why.

    """
    head = path.partition(".")[0]
    if head in _FIXED:
        raise ValueError(f"{path} cannot be searched: {_FIXED[head]}")
    shape, here = Shape(section=Job), ""
    for part in path.split("."):
        members = _members(shape, here, job, tags)
        homes = [section for section in members if part in keys_of(section)]
        if not homes:
            if Custom in members:
                return Shape()
            raise ValueError(_unknown(path, part, here, shape, members))
        shape, here = keys_of(homes[0])[part], f"{here}.{part}" if here else part
    return shape


def known_name(name: str, job: Job) -> str:
    """Say what is wrong with a path in an expression; empty where nothing is."""
    known = {path for path, _ in walk()}
    custom = isinstance(job.architecture, Custom) and name.startswith("architecture.")
    if name in known or custom:
        return ""
    near = did_you_mean(name, sorted(known)) or "; write dotted paths, such as training.batch_size, and texts in quotes"
    return f"{name} is no key of a job{near}"


def _members(shape: Shape, here: str, job: Job, tags: Mapping[str, Sequence[str]]) -> list[type[Section]]:
    """Return the objects that a trial may have at a path."""
    if shape.section or not shape.choices:
        return [shape.section] if shape.section else []
    allowed = tags.get(here) or [_tag_of(here, job)]
    return [section for label, section in shape.choices if label in allowed]


def _tag_of(here: str, job: Job) -> str:
    """Return the job's own choice at a path; for no architecture, the one that the task takes."""
    if here == "architecture" and job.architecture is None:
        return TASKS[job.task].families[0]
    value: object = job
    for part in here.split("."):
        value = getattr(value, part)
    return str(getattr(value, CHOICES[here], ""))  # none of them where each group of parameters has its own


def _unknown(path: str, part: str, here: str, shape: Shape, members: Sequence[type[Section]]) -> str:
    others = [label for label, section in shape.choices if part in keys_of(section)]
    if others:
        mine = " or ".join(label for label, section in shape.choices if section in members)
        return f"{path} belongs to {' and '.join(others)}; here {here} is {mine}"
    near = closest(part, [key for section in members for key in keys_of(section)])
    if near:
        return f"{path} is no key of a job; did you mean '{f'{here}.{near}' if here else near}'?"
    return f"{path} is no key of a job{did_you_mean(path, sorted({path for path, _ in walk()}))}"
