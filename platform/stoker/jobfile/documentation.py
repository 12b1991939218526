"""The job language for people and editors: what `stoker schema` prints, read from the settings and their source."""

import ast
import inspect
import itertools
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from stoker.errors import NotFound
from stoker.job.job import Job
from stoker.job.section import Section
from stoker.jobfile.language import Shape, keys_of, shape_of, tag_value
from stoker.jobfile.suggestion import did_you_mean

EXTENDS = "Another job file, relative to this one, whose keys hold wherever this one is silent."
DIALECT = "https://json-schema.org/draft/2020-12/schema"
KEY_EXAMPLES = {
    "name": "my-job", "dataset.source": "digits", "dataset.columns.label": "species",
    "dataset.columns.types": "{zip: category}", "dataset.image.size": "32", "dataset.image.augment": "[flip, crop]",
    "training.time": "10 min", "training.gradient_clip": "1.0", "training.checkpoint.best": "accuracy/val",
    "training.early_stopping.metric": "loss/val", "architecture.hidden": "[128, 64]",
    "architecture.channels": "[64, 128]", "training.epochs": "30", "training.steps": "5000",
    "training.batch_size": "128", "training.micro_batch": "32", "tracking.experiment": "my-experiment",
    "tracking.register": "my-model", "resources.gpus": "1", "resources.cpus": "4",
    "resources.memory": "16GiB", "resources.accelerator": "H200", "resources.queue": "team-a",
    "resources.priority": "normal", "environment.image": "registry.example.com/stoker:0.1.0",
    "environment.packages": "[einops==0.8.1]", "resources.timeout": "12 h",
    "training.start_from": "run:digits-cnn-7f3a9c21", "environment.code": "src",
    "environment.env": "{DATA_ROOT: /data}", "environment.pod": "{nodeSelector: {zone: a}}",
    "architecture.class": "my_model:Network", "sweep.metric": "accuracy/val", "sweep.trials": "40",
    "sweep": "{trials: 40, space: {training.optimizer.lr: {min: 1e-5, max: 1e-2, log: true}}}",
    "sweep.metric.name": "accuracy/val", "sweep.metric.direction": "max", "sweep.parallel": "8", "sweep.time": "2 h",
    "sweep.search.first": "[{training.optimizer.lr: 3e-4}]",
    "sweep.space": "{training.optimizer.lr: {min: 1e-5, max: 1e-2, log: true}}",
    "sweep.where": "['training.batch_size <= 128 or training.epochs < 10']",
}  # fmt: skip


@dataclass(frozen=True)
class KeyLine:
    """One key in a list of keys."""

    name: str
    type: str
    default: str
    documentation: str


@dataclass(frozen=True)
class Choice:
    """One member of a choice, and the keys that it alone has."""

    name: str
    documentation: str
    keys: tuple[KeyLine, ...]


@dataclass(frozen=True)
class KeyDocument:
    """All there is to say about a key."""

    path: str
    type: str
    default: str
    """As a job would write it; `required` where it must be given, empty where the documentation says it."""
    documentation: str
    keys: tuple[KeyLine, ...]
    choices: tuple[Choice, ...]
    example: str


@cache
def field_documents(section: type[Section]) -> dict[str, str]:
    """Return the text under each field, by the key a job writes."""
    names = {name: info.alias or name for name, info in section.model_fields.items()}
    tree = ast.parse(inspect.getsource(sys.modules[section.__module__]))
    [body] = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == section.__name__]
    found = {}
    for field, text in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            found[names[field.target.id]] = " ".join(str(ast.literal_eval(text.value)).split())
    return found


def job_schema() -> dict[str, Any]:
    """Return the JSON Schema of a job file, for editors."""
    schema = Job.model_json_schema(by_alias=True)
    documents = {section.__name__: field_documents(section) for section in _sections(Shape(section=Job))}
    for name, each in [("Job", schema), *schema.get("$defs", {}).items()]:
        for key, property_schema in each.get("properties", {}).items():
            if text := documents.get(name, {}).get(key):
                property_schema["description"] = text
    schema["properties"] = {"extends": {"type": "string", "description": EXTENDS}, **schema["properties"]}
    # what a file extends may hold the keys that every job needs
    schema["anyOf"] = [{"required": ["extends"]}, {"required": schema.pop("required")}]
    return {"$schema": DIALECT, "title": "Stoker job", **{k: v for k, v in schema.items() if k != "title"}}


def key_document(path: str) -> KeyDocument:
    """Return the documentation of a key such as `training.optimizer`; the empty path is the whole job.

    Raises:
        NotFound: the job language has no such key.

    """
    parts = path.split(".") if path else []
    shape = Shape(section=Job)
    homes: list[type[Section]] = []
    for part in parts:
        homes = [section for section in _members(shape) if part in keys_of(section)]
        if not homes:
            raise _unknown(path, part, shape)
        shape = keys_of(homes[0])[part]
    alone = [] if shape.choices else _members(shape)
    text = field_documents(homes[0]).get(parts[-1], "") if parts else str(Job.__doc__)
    return KeyDocument(
        path=path,
        type=type_words(shape),
        default=_defaults(homes, parts[-1]) if parts else "",
        documentation=text,
        keys=_key_lines(alone[0]) if alone else (),
        choices=tuple(Choice(name, str(each.__doc__), _key_lines(each)) for name, each in shape.choices),
        example=_example(parts, shape, homes),
    )


def type_words(shape: Shape) -> str:
    """Say what a key may hold."""
    if shape.choices:
        names = " | ".join(name for name, _ in shape.choices)
        one = f"{names}, or an object with '{shape.tag}: {names}' and the keys of that choice"
        return f"{one}; or an object with one of these for each group of parameters" if shape.grouped else one
    if shape.section:
        short = f", or text for its '{shape.short}'" if shape.short else ""
        return "an object" + short + "".join(f", or {word}" for word in shape.words)
    if shape.words:
        return " | ".join(str(word) for word in shape.words)
    if shape.items is not None:
        inner = type_words(shape_of(shape.items))
        if shape.container == "list":
            return f"a list of: {inner}"
        return f"an object whose values are: {inner}" if inner else "an object"
    return shape.scalar


def _members(shape: Shape) -> list[type[Section]]:
    """Return the objects that a key holds, or a list of them."""
    if shape.container == "list":
        return _members(shape_of(shape.items))
    return [shape.section] if shape.section else [section for _, section in shape.choices]


def _sections(shape: Shape) -> Iterator[type[Section]]:
    for section in _members(shape):
        yield section
        for below in keys_of(section).values():
            yield from _sections(below)


def _unknown(path: str, part: str, shape: Shape) -> NotFound:
    siblings = {key: None for section in _members(shape) for key in keys_of(section)}
    guess = did_you_mean(part, siblings) or (f"; the keys here are {', '.join(siblings)}" if siblings else "")
    return NotFound(f"no key '{path}' in a job{guess}")


def _key_lines(section: type[Section]) -> tuple[KeyLine, ...]:
    texts = field_documents(section)
    return tuple(
        KeyLine(key, type_words(shape), _default(section, key), texts.get(key, ""))
        for key, shape in keys_of(section).items()
    )


def _default(section: type[Section], key: str) -> str:
    info = next(info for name, info in section.model_fields.items() if (info.alias or name) == key)
    if info.is_required():
        return "required"
    value = info.default
    if value is None or value == {}:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _defaults(homes: list[type[Section]], key: str) -> str:
    values = {_default(section, key): None for section in homes}
    if len(values) == 1:
        return next(iter(values))
    return ", ".join(f"{_default(section, key)} ({tag_value(section)})" for section in homes)


def _example(parts: list[str], shape: Shape, homes: list[type[Section]]) -> str:
    if not parts:
        return "task: image-classification"
    path = ".".join(parts)
    if path in KEY_EXAMPLES:
        return f"{parts[-1]}: {KEY_EXAMPLES[path]}"
    if shape.choices:
        return f"{parts[-1]}: {{{shape.tag}: {shape.choices[0][0]}}}"
    if shape.section:
        key, below = next(iter(keys_of(shape.section).items()))
        return f"{parts[-1]}:\n  {_example([*parts, key], below, [shape.section])}"
    if shape.words:
        return f"{parts[-1]}: {shape.words[-1]}"
    return f"{parts[-1]}: {_default(homes[0], parts[-1])}"
