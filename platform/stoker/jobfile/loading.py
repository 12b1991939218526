"""Turns a job file into a Job, or into all of its mistakes with file, line and column; and a Job back into YAML."""

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
from stoker.job.resources import Resources
from stoker.job.task import TaskName
from stoker.job.training import Training
from stoker.jobfile.checks import Parts, check, parts_of
from stoker.jobfile.code import code_folder, code_problems
from stoker.jobfile.error_messages import problems_of
from stoker.jobfile.overlay import SET, laid_over, settings_document
from stoker.jobfile.sweep_checks import sweep_problems
from stoker.jobfile.yaml_reader import SIZE_LIMIT, CoreResolver, Document, Mark, Marks, Value, decode, read_document

Inspect = Callable[[Job | None, Dataset | None, TaskName | None], list[Problem]]
"""Looks at the data: at those of the job if it is whole, else at what of it could be read."""

STDIN = "-"
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True)
class LoadedJob:
    """A job and where its keys stand; `origin` is the path as it was typed."""

    job: Job
    marks: Marks
    origin: str
    code: Path | None
    """The absolute folder of the Python files that it brings along; None where it brings none."""


def load_job(
    path: str | Path, sets: Sequence[str] = (), inspect: Inspect | None = None, code: Path | None = None
) -> LoadedJob:
    """Read a job file, or standard input where the path is `-`.

    Args:
        path: of the file.
        sets: values that replace those of the file, such as `training.epochs=3`.
        inspect: looks at the data; with it, the job's code is looked at too.
        code: where the code of the job is kept, if that is not where the file says: an earlier run has its own.

    Raises:
        JobError: with every mistake of the file, sorted by line.

    """
    origin = str(path)
    return _check(_inherited(_read_file(origin), origin, ()), origin, sets, inspect, code)


def parse_job(text: str, origin: str, sets: Sequence[str] = (), inspect: Inspect | None = None) -> LoadedJob:
    """Read a job from text; `origin` is its name in messages, and where `extends` begins to look.

    Raises:
        JobError: with every mistake of the text, sorted by line.

    """
    return _check(_inherited(read_document(text, origin), origin, ()), origin, sets, inspect)


def locate(problems: Sequence[Problem], marks: Marks) -> list[Problem]:
    """Fill in file, line and column; a key that is in no file takes the place of the nearest object around it."""
    return [_named(each if each.file else _located(each, marks.nearest(each.path))) for each in problems]


def dump_job(job: Job) -> str:
    """Write a job as YAML that reads back as the same job."""
    values = job.model_dump(by_alias=True, exclude_none=True)
    return str(
        yaml.dump(values, Dumper=_Dumper, default_flow_style=None, sort_keys=False, allow_unicode=True, width=120)
    )


def _located(problem: Problem, mark: Mark | None) -> Problem:
    if mark is None:
        return replace(problem, line=1, column=1)
    return replace(problem, line=mark.line, column=mark.column, file=mark.file)


def _named(problem: Problem) -> Problem:
    suffix = f" (from {SET})"
    from_set = problem.file == SET and not problem.message.endswith(suffix)
    return replace(problem, message=problem.message + suffix) if from_set else problem


def _check(
    document: Document, origin: str, sets: Sequence[str], inspect: Inspect | None, kept: Path | None = None
) -> LoadedJob:
    if sets:
        document = laid_over(settings_document(sets), document)
    problems = list(document.problems)
    value = {key: _expanded(below, key, problems) for key, below in document.value.items()}
    if value.get("name") is None:
        value["name"] = usable_name(Path(origin).stem) or None
        if value["name"] is None:
            problems.append(Problem("name", "required: the file's name holds nothing usable (example: name: my-job)"))
    known = {problem.path for problem in problems}
    job: Job | None = None
    try:
        job = Job.model_validate(value)
        parts = parts_of(job)
    except ValidationError as error:
        problems += [each for each in problems_of(error, document.marks) if each.path not in known]
        parts = _sound_parts(value, error)
    problems += check(parts)
    if job and job.sweep and not problems:
        problems += sweep_problems(job, document.marks, SET)
    if inspect and not any(path.partition(".")[0] == "dataset" for path in known):
        problems += inspect(job, parts.dataset, parts.task)
    code = _code_folder(parts, document.marks, origin, kept)
    if inspect and code and parts.environment:
        found = code_problems(parts.architecture, parts.environment, code)
        problems += [each for each in found if each.path not in known]
    if problems or job is None:
        placed = [replace(each, file=each.file or origin) for each in locate(problems, document.marks)]
        order = sorted(placed, key=lambda p: (p.file == SET, p.file != origin, p.file, p.line, p.column))
        raise JobError(order, origin)
    return LoadedJob(job, document.marks, origin, code)


def _code_folder(parts: Parts, marks: Marks, origin: str, kept: Path | None) -> Path | None:
    """Find the job's code: what a file says is relative to that file, what --set says to the current folder."""
    environment = parts.environment
    if environment is None:
        return None
    mark = marks.place("environment.code" if environment.code else "architecture.class")
    if environment.code and mark and mark.file == SET:
        return code_folder(parts.architecture, environment, Path())
    file = mark.file if mark and mark.file != SET else origin
    found = code_folder(parts.architecture, environment, Path(file).parent)
    return kept if found and kept else found


def _sound_parts(value: dict[str, Value], error: ValidationError) -> Parts:
    """Read the nouns of the job that have no mistake, so that they are checked too."""
    wrong = {str(each["loc"][0]) for each in error.errors(include_url=False) if each["loc"]}

    def sound(key: str, kind: Any, default: Any = None) -> Any:
        given = value.get(key, default)
        usable = key not in wrong and given is not None
        return TypeAdapter(kind).validate_python(given) if usable else None

    return Parts(
        task=sound("task", TaskName),
        architecture=sound("architecture", ArchitectureChoice),
        dataset=sound("dataset", DatasetChoice),
        training=sound("training", Training),
        resources=sound("resources", Resources),
        environment=sound("environment", Environment, {}),
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
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a path"
        raise _unreadable(origin, f"cannot be read: {reason.lower()}") from error


def _unreadable(origin: str, reason: str) -> JobError:
    return JobError([Problem("", f"'{origin}' {reason}", 0, 0, origin)], origin)


def _inherited(document: Document, origin: str, below: tuple[str, ...]) -> Document:
    """Lay a file over the one it extends."""
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
    chain = (*below, os.path.realpath(origin))
    if os.path.realpath(path) in chain:
        return refuse(f"'{parent}' extends this file in turn; a job cannot extend itself")
    try:
        found = _read_file(path)
    except JobError as error:
        if error.problems[0].line:
            raise
        return refuse(error.problems[0].message.replace(f"'{path}'", f"'{parent}'"))
    return laid_over(document, _inherited(found, path, chain))


def _expanded(value: Value, path: str, problems: list[Problem]) -> Value:
    """Put environment variables in where they are allowed."""
    if isinstance(value, dict):
        return {key: _expanded(below, f"{path}.{key}", problems) for key, below in value.items()}
    if isinstance(value, list):
        return [_expanded(below, f"{path}.{index}", problems) for index, below in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value
    if path not in {"dataset", "dataset.source"} and not path.startswith("tracking."):
        problems.append(Problem(path, "${NAME} is known in dataset.source and tracking only; write the value"))
        return value
    unset = [name for name in _VARIABLE.findall(value) if name not in os.environ]
    if unset:
        problems.append(Problem(path, f"the environment variable {unset[0]} is not set"))
    elif "${" in _VARIABLE.sub("", value):
        problems.append(Problem(path, "expected ${NAME}: letters, digits and '_' between the braces"))
    return _VARIABLE.sub(lambda found: os.environ.get(found[1], found[0]), value)


class _Dumper(CoreResolver, yaml.SafeDumper):
    """Quotes what our own reader would take for something else than text."""

    yaml_implicit_resolvers = CoreResolver.yaml_implicit_resolvers

    def ignore_aliases(self, data: object) -> bool:
        """Write equal values out each time."""
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Escape line breaks of every kind: only double quotes keep them as they are."""
        style = None if data.isprintable() else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)
