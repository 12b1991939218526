"""Loads a job file as a Job, or reports all of its mistakes with file, line and column; writes a Job as YAML."""

import os
import re
import stat
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from stoker.errors import JobError, Problem
from stoker.job.architecture.choice import ArchitectureChoice
from stoker.job.dataset import Dataset, DatasetChoice
from stoker.job.environment import Environment
from stoker.job.job import Job, usable_name
from stoker.job.own_code import AnyJob, CodeJob, Entrypoint, EntrypointText
from stoker.job.resources import Resources
from stoker.job.task import TaskName
from stoker.job.training import Training
from stoker.jobfile.checks import Sections, check, sections_of
from stoker.jobfile.code import code_folder, code_problems
from stoker.jobfile.error_messages import problems_of
from stoker.jobfile.overlay import SET, merge_documents, settings_document
from stoker.jobfile.sweep_checks import sweep_problems
from stoker.jobfile.yaml_reader import (
    SIZE_LIMIT,
    TAG,
    CoreResolver,
    Document,
    Mark,
    Marks,
    Value,
    decode,
    read_document,
)

InspectData = Callable[[Job | None, Dataset | None, TaskName | None], list[Problem]]
"""Checks the data of a job; of a job with mistakes it gets the dataset and the task, if they are valid."""

STDIN = "-"
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True)
class LoadedJob:
    """A job with the positions of its keys; `origin` is the path as the user typed it."""

    job: AnyJob
    marks: Marks
    origin: str
    code: Path | None
    """Absolute folder of the Python files that are shipped with it; None if it has no code of its own."""

    @property
    def task_job(self) -> Job:
        """The job, which is known to have a task."""
        assert isinstance(self.job, Job), f"{self.origin} runs own code"
        return self.job


def load_job(
    path: str | Path, sets: Sequence[str] = (), inspect: InspectData | None = None, code: Path | None = None
) -> LoadedJob:
    """Return the job of a file, or of standard input if the path is `-`.

    Args:
        path: of the file.
        sets: values that replace those of the file, such as `training.epochs=3`.
        inspect: checks the data; with it, the job's code is checked too.
        code: folder of the job's code if it is not the one in the file: an earlier run has a copy of its own.

    Raises:
        JobError: with every mistake of the file, sorted by line.

    """
    origin = str(path)
    return _check(_with_parents(_read_file(origin), origin, ()), origin, sets, inspect, code)


def parse_job(text: str, origin: str, sets: Sequence[str] = (), inspect: InspectData | None = None) -> LoadedJob:
    """Return the job of a text; `origin` is its name in messages, and `extends` is relative to it.

    Raises:
        JobError: with every mistake of the text, sorted by line.

    """
    return _check(_with_parents(read_document(text, origin), origin, ()), origin, sets, inspect)


def locate(problems: Sequence[Problem], marks: Marks) -> list[Problem]:
    """Return problems with file, line and column; a key that no file has gets those of the nearest enclosing object."""
    return [_with_source(each if each.file else _at(each, marks.nearest(each.path))) for each in problems]


def dump_job(job: AnyJob) -> str:
    """Return a job as YAML text that loads as an equal job."""
    values = job.model_dump(by_alias=True, exclude_none=True)
    return str(
        yaml.dump(values, Dumper=_Dumper, default_flow_style=None, sort_keys=False, allow_unicode=True, width=120)
    )


def _at(problem: Problem, mark: Mark | None) -> Problem:
    if mark is None:
        return replace(problem, line=1, column=1)
    return replace(problem, line=mark.line, column=mark.column, file=mark.file)


def _with_source(problem: Problem) -> Problem:
    suffix = f" (from {SET})"
    from_set = problem.file == SET and not problem.message.endswith(suffix)
    return replace(problem, message=problem.message + suffix) if from_set else problem


def _check(
    document: Document, origin: str, sets: Sequence[str], inspect: InspectData | None, code_copy: Path | None = None
) -> LoadedJob:
    if sets:
        document = merge_documents(settings_document(sets), document)
    problems = list(document.problems)
    value = {key: _expand_variables(below, key, problems) for key, below in document.value.items()}
    if value.get("name") is None:
        value["name"] = usable_name(Path(origin).stem) or None
        if value["name"] is None:
            message = "required: the file name contains no letter or digit to derive it from (example: name: my-job)"
            problems.append(Problem("name", message))
    known = {problem.path for problem in problems}
    kind = CodeJob if "entrypoint" in value else Job
    job: AnyJob | None = None
    try:
        job = kind.model_validate(value)
        sections = sections_of(job)
    except ValidationError as error:
        problems += [each for each in problems_of(error, document.marks, kind) if each.path not in known]
        sections = _valid_sections(value, error, kind)
    problems += check(sections)
    if job and job.sweep and not problems:
        problems += sweep_problems(job, document.marks, SET)
    if inspect and not any(path.partition(".")[0] == "dataset" for path in known):
        if isinstance(job, CodeJob):
            dataset = Dataset(source=job.dataset.source) if job.dataset else None
            problems += inspect(None, dataset, None)
        else:
            problems += inspect(job, sections.dataset, sections.task)
    code = _code_folder(sections, document.marks, origin, code_copy)
    if inspect and code and sections.environment:
        found = code_problems(sections.code, sections.environment, code)
        problems += [each for each in found if each.path not in known]
    if problems or job is None:
        placed = [replace(each, file=each.file or origin) for each in locate(problems, document.marks)]
        order = sorted(placed, key=lambda p: (p.file == SET, p.file != origin, p.file, p.line, p.column))
        raise JobError(order, origin)
    return LoadedJob(job, document.marks, origin, code)


def _code_folder(sections: Sections, marks: Marks, origin: str, code_copy: Path | None) -> Path | None:
    """Return the folder of the job's code: relative to the file that sets it, or to the current folder with --set."""
    environment = sections.environment
    if environment is None:
        return None
    place = "entrypoint" if isinstance(sections.code, Entrypoint) else "architecture.class"
    mark = marks.place("environment.code" if environment.code else place)
    if environment.code and mark and mark.file == SET:
        return code_folder(sections.code, environment, Path())
    file = mark.file if mark and mark.file != SET else origin
    found = code_folder(sections.code, environment, Path(file).parent)
    return code_copy if found and code_copy else found


def _valid_sections(value: dict[str, Value], error: ValidationError, kind: type[AnyJob]) -> Sections:
    """Return the sections without mistakes of an invalid job, so that they are checked against each other too."""
    wrong = {str(each["loc"][0]) for each in error.errors(include_url=False) if each["loc"]}

    def valid(key: str, kind: Any, default: Any = None) -> Any:
        given = value.get(key, default)
        usable = key not in wrong and given is not None
        return TypeAdapter(kind).validate_python(given) if usable else None

    if kind is CodeJob:
        entrypoint = valid("entrypoint", EntrypointText)
        return Sections(
            resources=valid("resources", Resources),
            environment=valid("environment", Environment, {}),
            entrypoint=Entrypoint(entrypoint) if entrypoint else None,
        )
    return Sections(
        task=valid("task", TaskName),
        architecture=valid("architecture", ArchitectureChoice),
        dataset=valid("dataset", DatasetChoice),
        training=valid("training", Training),
        resources=valid("resources", Resources),
        environment=valid("environment", Environment, {}),
    )


def _read_file(origin: str) -> Document:
    return read_document(decode(_bytes(origin), origin), origin)


def _bytes(origin: str) -> bytes:
    if origin == STDIN:
        return sys.stdin.buffer.read(SIZE_LIMIT + 1)
    try:
        kind = Path(origin).stat().st_mode
        if stat.S_ISDIR(kind):
            raise _unreadable(origin, "is a folder; give the job file in it")
        if not stat.S_ISREG(kind):
            raise _unreadable(origin, "is not a regular file")
        with Path(origin).open("rb") as file:
            return file.read(SIZE_LIMIT + 1)
    except FileNotFoundError as error:
        raise _unreadable(origin, "does not exist") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a path"
        raise _unreadable(origin, f"cannot be read: {reason.lower()}") from error


def _unreadable(origin: str, reason: str) -> JobError:
    return JobError([Problem("", f"'{origin}' {reason}", 0, 0, origin)], origin)


def _with_parents(document: Document, origin: str, children: tuple[str, ...]) -> Document:
    """Return a document merged over the one that it extends; `children` are the files that led to it."""
    parent = document.value.pop("extends", None)
    if parent is None:
        return document
    mark = document.marks.place("extends") or Mark(origin, 1, 1)

    def refuse(message: str) -> Document:
        document.problems.append(Problem("extends", message, mark.line, mark.column, mark.file))
        return document

    if not isinstance(parent, str):
        return refuse("expected the path of one job file (example: extends: base.yaml)")
    path = str(Path(origin).parent / parent)
    chain = (*children, os.path.realpath(origin))
    if os.path.realpath(path) in chain:
        return refuse(f"'{parent}' extends this file in turn; a job cannot extend itself")
    try:
        found = _read_file(path)
    except JobError as error:
        if error.problems[0].line:
            raise
        return refuse(error.problems[0].message.replace(f"'{path}'", f"'{parent}'"))
    return merge_documents(document, _with_parents(found, path, chain))


def _expand_variables(value: Value, path: str, problems: list[Problem]) -> Value:
    """Return a value with its environment variables expanded; appends a problem where they are not allowed."""
    if isinstance(value, dict):
        return {key: _expand_variables(below, f"{path}.{key}", problems) for key, below in value.items()}
    if isinstance(value, list):
        return [_expand_variables(below, f"{path}.{index}", problems) for index, below in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value
    if path not in {"dataset", "dataset.source"} and not path.startswith("tracking."):
        problems.append(Problem(path, "${NAME} is allowed in dataset.source and tracking only; write the value"))
        return value
    unset = [name for name in _VARIABLE.findall(value) if name not in os.environ]
    if unset:
        problems.append(Problem(path, f"the environment variable {unset[0]} is not set"))
    elif "${" in _VARIABLE.sub("", value):
        problems.append(Problem(path, "expected ${NAME}: letters, digits and '_' between the braces"))
    return _VARIABLE.sub(lambda found: os.environ.get(found[1], found[0]), value)


class _Dumper(CoreResolver, yaml.SafeDumper):
    """Quotes the strings that our own reader would read as another type."""

    yaml_implicit_resolvers = CoreResolver.yaml_implicit_resolvers

    def ignore_aliases(self, data: object) -> bool:
        """Write repeated values in full instead of as aliases."""
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Write line breaks and other control characters in double quotes, which alone preserve them."""
        style = None if data.isprintable() else '"'
        return self.represent_scalar(f"{TAG}str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)
