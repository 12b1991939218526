"""Merges a job file, or the values of `--set`, over another job file."""

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
"""Tag of each tagged object. If the tag changes, the keys of the other choice are dropped."""
SHORTHANDS = {**CHOICES, "dataset": "source"}
"""The key that a bare string stands for."""
SPACE = "sweep.space"
"""Its keys are dotted paths, whose values are replaced rather than merged: a choice cannot be merged with a range."""
SET = "--set"
_KEY = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+)*\Z")


def merge_documents(above: Document, below: Document) -> Document:
    """Return `above` merged over `below`: objects are merged, all other values are replaced."""
    marks = Marks(dict(below.marks.keys), dict(below.marks.values))
    value = _merge(above.value, below.value, "", marks)
    marks.keys.update(above.marks.keys)
    marks.values.update(above.marks.values)
    return Document(value, marks, [*below.problems, *above.problems])


def merge_values(above: Mapping[str, Value], below: Mapping[str, Value]) -> dict[str, Value]:
    """Return values merged over the values of a job, by the rules for files."""
    return _merge(above, below, "", Marks())


def _merge(above: Mapping[str, Value], below: Mapping[str, Value], path: str, marks: Marks) -> dict[str, Value]:
    result = dict(below)
    for key, new in above.items():
        here = f"{path}.{key}" if path else key
        old = expand_shorthand(below.get(key), here)
        new_object = expand_shorthand(new, here)
        if (
            path != SPACE
            and isinstance(old, dict)
            and isinstance(new_object, dict)
            and not _changes_choice(new_object, old, here)
        ):
            result[key] = _merge(new_object, old, here, marks)
        else:
            result[key] = new
            _drop_marks(here, marks, [f"{path}.{other}" for other in below if path == SPACE and other != key])
    return result


def expand_shorthand(value: Any, path: str) -> Any:
    """Return the object that a bare string stands for at this path; other values stay as they are."""
    return {SHORTHANDS[path]: value} if isinstance(value, str) and path in SHORTHANDS else value


def _changes_choice(above: Mapping[str, Value], below: Mapping[str, Value], path: str) -> bool:
    tag = CHOICES.get(path)
    return tag is not None and tag in above and above[tag] != below.get(tag)


def _drop_marks(path: str, marks: Marks, kept: Sequence[str]) -> None:
    """Delete the marks below a path, except those of `kept`: sibling keys whose dotted names may begin with it."""
    for places in (marks.keys, marks.values):
        for gone in [known for known in places if known.startswith(f"{path}.")]:
            if not any(gone == each or gone.startswith(f"{each}.") for each in kept if len(each) > len(path)):
                del places[gone]


def settings_document(settings: Sequence[str]) -> Document:
    """Return the values of `--set a.b=value` as a document; a later one overrides an earlier one."""
    document = Document({}, Marks(), [])
    for text in settings:
        path, equals, value_text = text.partition("=")
        path = path.strip()
        if not equals or not _KEY.match(path):
            document.problems.append(_problem("", f"'{text}' is not KEY=VALUE (example: training.epochs=3)"))
        elif path.partition(".")[0] == "extends":
            document.problems.append(_problem(path, "can be set in a file only"))
        else:
            _set(document, path, value_text)
    return document


def _set(document: Document, path: str, text: str) -> None:
    try:
        value, problems = read_value(text, SET)
    except JobError as error:
        problems = list(error.problems)
        value = None
    document.problems += [_problem(path, problem.message) for problem in problems]
    target = document.value
    inside = path.removeprefix(f"{SPACE}.")
    parts = [*SPACE.split("."), inside] if inside != path else path.split(".")
    for end, part in enumerate(parts[:-1], 1):
        here = ".".join(parts[:end])
        below = expand_shorthand(target.get(part), here)
        target[part] = target = below if isinstance(below, dict) else {}
        document.marks.keys[here] = Mark(SET, 0, 0)
    target[parts[-1]] = value
    document.marks.keys[path] = document.marks.values[path] = Mark(SET, 0, 0)


def _problem(path: str, message: str) -> Problem:
    return Problem(path, message, 0, 0, SET)
