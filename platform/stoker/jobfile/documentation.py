"""Reference documentation and JSON Schema of the job language, for `stoker schema`, from the settings classes."""

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
from stoker.job.own_code import CodeJob
from stoker.job.section import Section
from stoker.jobfile.language import KeyType, key_type_of, keys_of, tag_value
from stoker.jobfile.suggestion import did_you_mean

EXTENDS = "Path of another job file, relative to this one; its keys apply unless this file sets them."
DIALECT = "https://json-schema.org/draft/2020-12/schema"
KEY_EXAMPLES = {
    "entrypoint": "finetune:train", "settings": "{lr: 2e-5, epochs: 3}",
    "name": "my-job", "dataset.source": "digits", "dataset.columns.label": "species",
    "dataset.columns.types": "{zip: category}", "dataset.image.size": "32", "dataset.image.augment": "[flip, crop]",
    "dataset.image.tile": "192", "dataset.mask.classes": "{soil: 0, crop: 1, weed: 2}", "dataset.mask.ignore": "255",
    "dataset.image.normalization": "{mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}",
    "dataset.image.normalization.mean": "[0.5]", "dataset.image.normalization.std": "[0.25]",
    "architecture.backbone": "resnet18", "architecture.backbone.name": "resnet18",
    "dataset.split.column": "part", "dataset.split.time": "date",
    "dataset.columns.normal": "[good]", "training.threshold": "0.95", "architecture.turns": "true",
    "architecture.encoder_layers": "2", "architecture.min_snr": "5", "architecture.sampler": "ddim",
    "architecture.autoencoder": "{family: vae}", "architecture.autoencoder.channels": "[32, 64]",
    "architecture.autoencoder.hidden": "[64, 32]",
    "architecture.critic_steps": "5", "architecture.spectral_norm": "true",
    "training.class_weights": "balanced", "training.label_smoothing": "0.1", "training.mixup": "0.2",
    "training.cutmix": "1", "training.ema": "0.999",
    "training.time": "10 min", "training.gradient_clip": "1.0", "training.checkpoint.best": "accuracy/val",
    "training.early_stopping.metric": "loss/val", "training.evaluate.every": "5 epochs",
    "training.evaluate.samples": "500", "training.evaluate.features": "trained", "architecture.hidden": "[128, 64]",
    "architecture.channels": "[64, 128]", "architecture.patch": "4", "architecture.feedforward": "512",
    "architecture.bidirectional": "false", "architecture.word_dropout": "0.2", "architecture.beam": "4",
    "architecture.length_penalty": "1.0", "architecture.no_repeat": "3", "architecture.key_heads": "2",
    "architecture.lora.targets": "[q_proj, v_proj]", "dataset.encoding": "latin-1",
    "dataset.columns.features": "[age, income]", "dataset.columns.weight": "weight", "dataset.columns.group": "patient",
    "dataset.columns.classes": "[cat, dog]", "dataset.text.tokenizer": "google-bert/bert-base-uncased",
    "dataset.text.prefix": "'translate English to German: '", "dataset.text.vocabulary": "8000",
    "resources.workers_per_node": "4",
    "training.epochs": "30", "training.steps": "5000",
    "training.batch_size": "128", "training.micro_batch": "32", "tracking.experiment": "my-experiment",
    "tracking.register": "my-model", "resources.gpus": "1", "resources.cpus": "4",
    "resources.workers": "4", "resources.workers.min": "4", "resources.workers.max": "16",
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

SHARED = ("version", "name", "resources", "environment", "tracking")
"""The keys that mean the same in both kinds of job."""


@dataclass(frozen=True)
class KeyLine:
    """One row of a list of keys."""

    name: str
    type: str
    default: str
    documentation: str


@dataclass(frozen=True)
class Choice:
    """One member of a choice, with its keys."""

    name: str
    documentation: str
    keys: tuple[KeyLine, ...]


@dataclass(frozen=True)
class KeyDocument:
    """The documentation of a key."""

    path: str
    type: str
    default: str
    """As written in a job file; `required` if there is none, empty if the documentation describes it."""
    documentation: str
    keys: tuple[KeyLine, ...]
    choices: tuple[Choice, ...]
    example: str


@cache
def field_documents(section: type[Section]) -> dict[str, str]:
    """Return the documentation under each field of a section, by key, also of those that it has from another one."""
    names = {name: info.alias or name for name, info in section.model_fields.items()}
    above = [each for each in section.__bases__ if issubclass(each, Section) and each is not Section]
    found = {name: text for each in above for name, text in field_documents(each).items()}
    tree = ast.parse(inspect.getsource(sys.modules[section.__module__]))
    [body] = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == section.__name__]
    for field, text in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            found[names[field.target.id]] = " ".join(str(ast.literal_eval(text.value)).split())
    return found


def job_schema() -> dict[str, Any]:
    """Return the JSON Schema of a job file, for editors: of both kinds of job, told apart by the entrypoint."""
    task, code = _schema_of(Job), _schema_of(CodeJob)
    properties = {**code["properties"], **task["properties"]}
    both = [name for name in task["properties"] if name in code["properties"] and name not in SHARED]

    def only(kind: dict[str, Any]) -> dict[str, Any]:
        names = [*both, *(name for name in properties if name not in kind["properties"])]
        return {"properties": {name: kind["properties"].get(name, False) for name in names}}

    return {
        "$schema": DIALECT,
        "title": "Stoker job",
        "description": task["description"],
        "type": "object",
        "properties": {
            "extends": {"type": "string", "description": EXTENDS},
            **properties,
            **{name: {"description": properties[name]["description"]} for name in both},
        },
        "additionalProperties": False,
        # the required keys may be in the file that is extended
        "anyOf": [{"required": ["extends"]}, {"required": task["required"]}, {"required": code["required"]}],
        "if": {"required": ["entrypoint"]},
        "then": only(code),
        "else": only(task),
        "$defs": {**code.get("$defs", {}), **task.get("$defs", {})},
    }


def _schema_of(root: type[Section]) -> dict[str, Any]:
    """Return the JSON Schema of one kind of job, with the documentation of its keys."""
    schema = root.model_json_schema(by_alias=True)
    documents = {section.__name__: field_documents(section) for section in _sections(KeyType(section=root))}
    for name, each in [(root.__name__, schema), *schema.get("$defs", {}).items()]:
        for key, property_schema in each.get("properties", {}).items():
            if text := documents.get(name, {}).get(key):
                property_schema["description"] = text
    return schema


def key_document(path: str) -> KeyDocument:
    """Return the documentation of a key such as `training.optimizer`; the empty path is the whole job.

    Raises:
        NotFound: the job language has no such key.

    """
    parts = path.split(".") if path else []
    root = CodeJob if parts and parts[0] not in keys_of(Job) and parts[0] in keys_of(CodeJob) else Job
    key_type = KeyType(section=root)
    owners: list[type[Section]] = []
    for part in parts:
        owners = [section for section in _members(key_type) if part in keys_of(section)]
        if not owners:
            raise _unknown(path, part, key_type)
        key_type = keys_of(owners[0])[part]
    single = [] if key_type.choices else _members(key_type)
    text = field_documents(owners[0]).get(parts[-1], "") if parts else str(Job.__doc__)
    return KeyDocument(
        path=path,
        type=describe_type(key_type),
        default=_defaults(owners, parts[-1]) if parts else "",
        documentation=text,
        keys=_key_lines(single[0]) if single else (),
        choices=tuple(Choice(name, str(each.__doc__), _key_lines(each)) for name, each in key_type.choices),
        example=_example(parts, key_type, owners),
    )


def describe_type(key_type: KeyType) -> str:
    """Return the description of a key's type, such as `a whole number`."""
    if key_type.choices:
        names = " | ".join(name for name, _ in key_type.choices)
        one = f"{names}, or an object with '{key_type.tag}: {names}' and the keys of that choice"
        return f"{one}; or an object with one of these for each parameter group" if key_type.grouped else one
    if key_type.section:
        short = f", or text for its '{key_type.short}'" if key_type.short else ""
        number = f"{key_type.scalar}, or " if key_type.scalar else ""
        return f"{number}an object" + short + "".join(f", or {word}" for word in key_type.words)
    if key_type.items is not None:
        inner = describe_type(key_type_of(key_type.items))
        if key_type.container == "list":
            return f"a list of: {inner}"
        words = "".join(f"{word}, or " for word in key_type.words)
        return words + (f"an object whose values are: {inner}" if inner else "an object")
    if key_type.words:
        return " | ".join(str(word) for word in key_type.words)
    return key_type.scalar


def _members(key_type: KeyType) -> list[type[Section]]:
    """Return the section classes that a key, or the items of its list, may have."""
    if key_type.container == "list":
        return _members(key_type_of(key_type.items))
    return [key_type.section] if key_type.section else [section for _, section in key_type.choices]


def _sections(key_type: KeyType) -> Iterator[type[Section]]:
    for section in _members(key_type):
        yield section
        for below in keys_of(section).values():
            yield from _sections(below)


def _unknown(path: str, part: str, key_type: KeyType) -> NotFound:
    siblings = {key: None for section in _members(key_type) for key in keys_of(section)}
    guess = did_you_mean(part, siblings) or (f"; the keys here are {', '.join(siblings)}" if siblings else "")
    return NotFound(f"no key '{path}' in a job{guess}")


def _key_lines(section: type[Section]) -> tuple[KeyLine, ...]:
    texts = field_documents(section)
    return tuple(
        KeyLine(key, describe_type(key_type), _default(section, key), texts.get(key, ""))
        for key, key_type in keys_of(section).items()
    )


def _default(section: type[Section], key: str) -> str:
    info = next(info for name, info in section.model_fields.items() if (info.alias or name) == key)
    if info.is_required():
        return "required"
    value = info.default
    if value is None or value == {}:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _defaults(owners: list[type[Section]], key: str) -> str:
    values = {_default(section, key): None for section in owners}
    if len(values) == 1:
        return next(iter(values))
    return ", ".join(f"{_default(section, key)} ({tag_value(section)})" for section in owners)


def _example(parts: list[str], key_type: KeyType, owners: list[type[Section]]) -> str:
    if not parts:
        return "task: image-classification"
    path = ".".join(parts)
    if path in KEY_EXAMPLES:
        return f"{parts[-1]}: {KEY_EXAMPLES[path]}"
    if key_type.choices:
        return f"{parts[-1]}: {{{key_type.tag}: {key_type.choices[0][0]}}}"
    if key_type.section:
        key, below = next(iter(keys_of(key_type.section).items()))
        return f"{parts[-1]}:\n  {_example([*parts, key], below, [key_type.section])}"
    if key_type.words:
        return f"{parts[-1]}: {key_type.words[-1]}"
    return f"{parts[-1]}: {_default(owners[0], parts[-1])}"
