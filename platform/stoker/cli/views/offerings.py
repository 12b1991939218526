"""What a job file can name, read from the settings themselves."""

from collections.abc import Callable
from typing import Any, get_args

from stoker.job.architecture.choice import FAMILIES
from stoker.job.builtin import BUILTIN
from stoker.job.formats import FORMATS
from stoker.job.section import Section
from stoker.job.task import TASKS
from stoker.job.training import Optimizer, Schedule
from stoker.jobfile.language import keys_of

Row = dict[str, Any]


def tasks() -> list[Row]:
    """List the tasks."""
    return [
        {"task": name, "families": list(row.families), "metrics": list(row.metrics), "summary": row.summary}
        for name, row in TASKS.items()
    ]


def families() -> list[Row]:
    """List the network families."""
    return [{"family": name, **_section(section, "family")} for name, section in FAMILIES.items()]


def datasets() -> list[Row]:
    """List the built-in datasets."""
    return [
        {"dataset": name, "tasks": list(row.tasks), "label": row.label, "summary": row.summary}
        for name, row in BUILTIN.items()
    ]


def formats() -> list[Row]:
    """List the file formats."""
    return [{"format": name, "columns": list(kinds)} for name, kinds in FORMATS.items()]


def optimizers() -> list[Row]:
    """List the optimizers."""
    return _choices("optimizer", Optimizer)


def schedules() -> list[Row]:
    """List the schedules of the learning rate."""
    return _choices("schedule", Schedule)


OFFERINGS: dict[str, Callable[[], list[Row]]] = {
    "tasks": tasks,
    "families": families,
    "datasets": datasets,
    "formats": formats,
    "optimizers": optimizers,
    "schedules": schedules,
}


def _choices(noun: str, union: Any) -> list[Row]:
    """Return a row for each member of `Annotated[A | B | ..., discriminator]`, by its tag."""
    sections = get_args(get_args(union)[0])
    return [
        {noun: get_args(section.model_fields["type"].annotation)[0], **_section(section, "type")}
        for section in sections
    ]


def _section(section: type[Section], tag: str) -> Row:
    summary = (section.__doc__ or "").splitlines()[0]
    return {"settings": [key for key in keys_of(section) if key != tag], "summary": summary}
