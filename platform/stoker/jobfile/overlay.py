"""Lays one job file, or the values of `--set`, over another."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from stoker.errors import JobError, Problem
from stoker.jobfile.yaml_reader import Document, Mark, Marks, Value, read_value

CHOICES = {
    "architecture": "family",
    "training.optimizer": "type",
    "training.schedule": "type",
    "sweep.search": "type",
    "sweep.scheduler": "type",
}
"""The tagged objects: where the tag changes, the keys of the earlier choice have no meaning any more."""
SHORTHANDS = {**CHOICES, "dataset": "source"}
"""What a bare string stands for."""
SPACE = "sweep.space"
"""Its keys are dotted paths, and what stands under one is replaced whole: a choice is not merged with a range."""
SET = "--set"
_KEY = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+)*\Z")


def laid_over(above: Document, below: Document) -> Document:
    """Return `below` with everything that `above` says: objects are merged, all else is replaced."""
    marks = Marks(dict(below.marks.keys), dict(below.marks.values))
    value = _merge(above.value, below.value, "", marks)
    marks.keys.update(above.marks.keys)
    marks.values.update(above.marks.values)
    return Document(value, marks, [*below.problems, *above.problems])


def merged(above: Mapping[str, Value], below: Mapping[str, Value]) -> dict[str, Value]:
    """Lay values over the values of a job, as one file is laid over another."""
    return _merge(above, below, "", Marks())


def _merge(above: Mapping[str, Value], below: Mapping[str, Value], path: str, marks: Marks) -> dict[str, Value]:
    result = dict(below)
    for key, new in above.items():
        here = f"{path}.{key}" if path else key
        old = written_out(below.get(key), here)
        new_object = written_out(new, here)
        if (
            path != SPACE
            and isinstance(old, dict)
            and isinstance(new_object, dict)
            and not _other_choice(new_object, old, here)
        ):
            result[key] = _merge(new_object, old, here, marks)
        else:
            result[key] = new
            _forget(here, marks, [f"{path}.{other}" for other in below if path == SPACE and other != key])
    return result


def written_out(value: Any, path: str) -> Any:
    """Write a bare string out where it stands for an object."""
    return {SHORTHANDS[path]: value} if isinstance(value, str) and path in SHORTHANDS else value


def _other_choice(above: Mapping[str, Value], below: Mapping[str, Value], path: str) -> bool:
    tag = CHOICES.get(path)
    return tag is not None and tag in above and above[tag] != below.get(tag)


def _forget(path: str, marks: Marks, kept: Sequence[str]) -> None:
    """Drop the marks below a path; `kept` are neighbours whose own dotted keys may begin with it."""
    for places in (marks.keys, marks.values):
        for gone in [known for known in places if known.startswith(f"{path}.")]:
            if not any(gone == each or gone.startswith(f"{each}.") for each in kept if len(each) > len(path)):
                del places[gone]


def settings_document(settings: Sequence[str]) -> Document:
    """Read the values of `--set a.b=value`; a later one wins."""
    document = Document({}, Marks(), [])
    for text in settings:
        path, equals, value_text = text.partition("=")
        path = path.strip()
        if not equals or not _KEY.match(path):
            document.problems.append(_wrong("", f"'{text}' is not KEY=VALUE (example: training.epochs=3)"))
        elif path.partition(".")[0] == "extends":
            document.problems.append(_wrong(path, "only a file can say what it extends"))
        else:
            _set(document, path, value_text)
    return document


def _set(document: Document, path: str, text: str) -> None:
    try:
        value, problems = read_value(text, SET)
    except JobError as error:
        problems = list(error.problems)
        value = None
    document.problems += [_wrong(path, problem.message) for problem in problems]
    target = document.value
    inside = path.removeprefix(f"{SPACE}.")
    parts = [*SPACE.split("."), inside] if inside != path else path.split(".")
    for end, part in enumerate(parts[:-1], 1):
        here = ".".join(parts[:end])
        below = written_out(target.get(part), here)
        target[part] = target = below if isinstance(below, dict) else {}
        document.marks.keys[here] = Mark(SET, 0, 0)
    target[parts[-1]] = value
    document.marks.keys[path] = document.marks.values[path] = Mark(SET, 0, 0)


def _wrong(path: str, message: str) -> Problem:
    return Problem(path, message, 0, 0, SET)
