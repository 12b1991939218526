"""The keys of a job that a sweep can search, and their types."""

from collections.abc import Mapping, Sequence

from stoker.job.architecture.custom import Custom
from stoker.job.job import Job
from stoker.job.own_code import AnyJob, CodeJob
from stoker.job.section import Section
from stoker.job.task import TASKS
from stoker.jobfile.language import KeyType, keys_of, walk
from stoker.jobfile.overlay import CHOICES
from stoker.jobfile.suggestion import closest, did_you_mean

SETTINGS = "settings"
"""The key of a job with own code that a sweep can search."""
_FIXED = {
    # top-level key: why it must be the same for all trials
    "version": "it is the same for the whole file",
    "name": "a trial's name comes from the sweep's",
    "task": "trials of different tasks cannot be compared",
    "sweep": "a sweep does not search itself",
    "tracking": "all trials are recorded in one place",
    "resources": "all trials get the same resources, so that they fit side by side",
    "environment": "all trials run in the same processes",
}


def searched_key_type(path: str, job: AnyJob, tags: Mapping[str, Sequence[str]]) -> KeyType:
    """Return the type of a searched key; empty for a setting of a custom architecture, or of own code.

    Args:
        path: dotted path of the job.
        job: its choices decide which keys exist.
        tags: options of each choice that is searched itself.

    Raises:
        ValueError: the key cannot be searched; the message has the reason.

    """
    head, _, below = path.partition(".")
    if isinstance(job, CodeJob):
        if head != SETTINGS or not below:
            raise ValueError(f"{path} cannot be searched: own code is searched by its settings, such as settings.lr")
        return KeyType()
    if head in _FIXED:
        raise ValueError(f"{path} cannot be searched: {_FIXED[head]}")
    key_type, here = KeyType(section=Job), ""
    for part in path.split("."):
        members = _members(key_type, here, job, tags)
        owners = [section for section in members if part in keys_of(section)]
        if not owners:
            if Custom in members:
                return KeyType()
            raise ValueError(_unknown(path, part, here, key_type, members))
        key_type, here = keys_of(owners[0])[part], f"{here}.{part}" if here else part
    return key_type


def name_problem(name: str, job: AnyJob) -> str:
    """Return why a path in an expression is wrong; empty if it is a key of the job."""
    if isinstance(job, CodeJob):
        if name.startswith((f"{SETTINGS}.", "resources.")):
            return ""
        return f"{name} is not a setting; write dotted paths, such as settings.lr, and texts in quotes"
    known = {path for path, _ in walk()}
    custom = isinstance(job.architecture, Custom) and name.startswith("architecture.")
    if name in known or custom:
        return ""
    near = did_you_mean(name, sorted(known)) or "; write dotted paths, such as training.batch_size, and texts in quotes"
    return f"{name} is not a key of a job{near}"


def _members(key_type: KeyType, here: str, job: Job, tags: Mapping[str, Sequence[str]]) -> list[type[Section]]:
    """Return the section classes that a trial may have at a path."""
    if key_type.section or not key_type.choices:
        return [key_type.section] if key_type.section else []
    allowed = tags.get(here) or [_tag_of(here, job)]
    return [section for label, section in key_type.choices if label in allowed]


def _tag_of(here: str, job: Job) -> str:
    """Return the tag of the job's own choice at a path; without an architecture, the task's default family."""
    if here == "architecture" and job.architecture is None:
        return TASKS[job.task].families[0]
    value: object = job
    for part in here.split("."):
        value = getattr(value, part)
    return str(getattr(value, CHOICES[here], ""))  # none of them where each group of parameters has its own


def _unknown(path: str, part: str, here: str, key_type: KeyType, members: Sequence[type[Section]]) -> str:
    others = [label for label, section in key_type.choices if part in keys_of(section)]
    if others:
        mine = " or ".join(label for label, section in key_type.choices if section in members)
        return f"{path} belongs to {' and '.join(others)}; here {here} is {mine}"
    near = closest(part, [key for section in members for key in keys_of(section)])
    if near:
        return f"{path} is not a key of a job; did you mean '{f'{here}.{near}' if here else near}'?"
    return f"{path} is not a key of a job{did_you_mean(path, sorted({path for path, _ in walk()}))}"
