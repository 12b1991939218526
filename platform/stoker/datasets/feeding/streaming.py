"""Streamed datasets: only the shards of the next steps are on this machine."""

import hashlib
from functools import partial
from pathlib import Path

import numpy as np
import torch

from stoker.datasets.columns import Lazy, joined
from stoker.datasets.dataset import LoadedDataset, example_of
from stoker.datasets.feeding.shards import Shards, Streamed
from stoker.datasets.fields.field import Field, InputField
from stoker.datasets.fields.inference import infer_roles
from stoker.datasets.fields.schema import Fields
from stoker.datasets.formats.webdataset import part_of_shard
from stoker.datasets.pictures.decoding import fitted_records
from stoker.datasets.pictures.masks import with_colours
from stoker.datasets.pictures.picture_kinds import augmentation_notes, completed_image
from stoker.datasets.pictures.survey import survey
from stoker.datasets.records import PARTS
from stoker.datasets.samples import Samples
from stoker.datasets.sources.schemes import is_remote
from stoker.datasets.split import complete_parts, split_parts
from stoker.datasets.values.labels import read_labels
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset
from stoker.job.task import TaskRow

FITTED_SAMPLES = 10_000
"""Most samples of the first training shard that fields are fitted on."""


def load_stream(dataset: Dataset, shards: Shards, note: str, task: TaskRow) -> LoadedDataset:
    """Return a streamed dataset, whose fields are fitted on the first training shard.

    Args:
        dataset: the section of the job.
        shards: of its source.
        note: about them, for the user.
        task: to learn.

    Raises:
        JobError: the data does not fit the task; the message names shards or samples.

    """
    named = {"columns.weight": dataset.columns.weight, "columns.group": dataset.columns.group}
    if dataset.split != "none":
        named |= {"split.column": dataset.split.column, "split.time": dataset.split.time}
    if keys := [key for key, name in named.items() if name]:
        raise JobError([Problem(f"dataset.{keys[0]}", "streamed samples have none; use loading: loaded")])
    parts = shard_parts(shards, dataset)
    train = np.flatnonzero(parts == "train")
    if not len(train):
        raise JobError([Problem("dataset.split", f"no shard is left to learn from, of {len(parts)}")])
    first = int(train[0])
    begin, end = int(shards.begins[first]), int(shards.begins[first + 1])
    some = shards.records(np.arange(begin, min(end, begin + FITTED_SAMPLES)))
    roles = infer_roles(some, dataset, task)
    if roles.target:
        read_labels(some, roles.target, task.target)  # only to check them
    elif not task.target_optional:
        raise JobError([Problem("dataset.source", f"the samples of {shards.files[first].name} have no label")])
    looked = survey(some, roles, dataset, task)
    some, dataset = with_colours(looked.records, roles, looked.dataset, task), looked.dataset
    fitted = fitted_records(some, np.arange(len(some)), roles, dataset)
    fields = Fields.fit(fitted, roles, task.target, dataset)
    samples = {part: _samples(shards, np.flatnonzero(parts == part), fields) for part in PARTS if part in parts}
    update: dict[str, object] = {"format": "webdataset", "loading": "streaming"}
    if fields.signature.images:
        update["image"] = completed_image(dataset.image, fields.signature, task)
    if not is_remote(dataset.source):
        update["source"] = str(Path(dataset.source).expanduser().absolute())
    spec = dataset.model_copy(update=update)
    return LoadedDataset(
        spec=spec,
        fields=fields,
        parts=samples,
        counts={part: {"": len(each)} for part, each in samples.items()},
        names=(),
        fingerprint=_fingerprint(shards),
        notes=(
            *roles.notes,
            *looked.notes,
            *augmentation_notes(dataset.image, spec.image, fields.signature),
            _note(shards, parts, first),
            *([note] if note else ()),
        ),
        example=example_of(some, fields),
    )


def shard_parts(shards: Shards, dataset: Dataset) -> np.ndarray:
    """Return the part of each shard; a shard is never divided between parts.

    It follows from the names of shards or their folders, or else whole shards are split.
    """
    count = len(shards.files)
    if dataset.split == "none":
        return np.full(count, "train")
    named = np.array([part_of_shard(file.name) for file in shards.files])
    if named.all() and "train" in named:
        return complete_parts(named, dataset.split, None)
    groups = np.repeat(np.arange(count), shards.counts)
    parts: np.ndarray = split_parts(dataset.split, len(shards), groups=groups)[shards.begins[:-1]]
    return parts


def _samples(shards: Shards, numbers: np.ndarray, fields: Fields) -> Samples:
    """Return the lazy samples of some shards."""
    rows = np.concatenate([np.arange(shards.begins[n], shards.begins[n + 1]) for n in numbers])
    stored = Streamed(shards, rows)
    inputs = {name: Lazy(stored, partial(_inputs, each)) for name, each in fields.layout.groups.items()}
    target = Lazy(stored, partial(_target, fields.target)) if fields.target else None
    counts = tuple(shards.counts[number] for number in numbers.tolist())
    return Samples(dict(inputs), target, None, torch.from_numpy(rows), counts)


def _inputs(fields: tuple[InputField, ...], stored: Streamed) -> torch.Tensor:
    records = stored.read()
    return joined([each.encode(records.columns[each.name]) for each in fields]).take(torch.arange(len(stored)))


def _target(field: Field, stored: Streamed) -> torch.Tensor:
    return field.encode(stored.read().columns[field.name]).take(torch.arange(len(stored)))


def _fingerprint(shards: Shards) -> str:
    """Return a hash of the names, sizes, remote versions and sample counts of all shards."""
    remote = is_remote(shards.dataset.source)
    entries = [
        (file.name, file.size, file.version if remote else "", count)
        for file, count in zip(shards.files, shards.counts, strict=True)
    ]
    return hashlib.sha256(repr(entries).encode()).hexdigest()


def _note(shards: Shards, parts: np.ndarray, first: int) -> str:
    shares = ", ".join(f"{(parts == part).sum()} {part}" for part in PARTS if part in parts)
    learnt = f"classes, means and vocabularies are those of {shards.files[first].name}"
    return f"{len(shards.files)} shards are streamed ({shares}); {learnt}"
