"""From the `dataset` section of a job to encoded parts: read, check, split, fit, encode."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from stoker.datasets.fields.inference import Roles, image_files, infer_roles
from stoker.datasets.fields.schema import Fields
from stoker.datasets.fields.text import TextField
from stoker.datasets.formats.reading import read_path
from stoker.datasets.images import decode_images, decode_masks, resize
from stoker.datasets.inspection import column_problems, infer_format
from stoker.datasets.labels import Labels, read_labels
from stoker.datasets.records import PARTS, Files, RawColumn, Records, pick
from stoker.datasets.report import class_warnings, leak_warnings, sample_hashes
from stoker.datasets.samples import Samples
from stoker.datasets.sources.builtin import read_builtin
from stoker.datasets.split import choose_parts
from stoker.errors import JobError, Problem
from stoker.job.dataset import BUILTIN, Dataset
from stoker.job.task import TaskRow

EXAMPLES = 3


@dataclass(frozen=True)
class LoadedDataset:
    """A dataset that is ready for training."""

    spec: Dataset
    """The section with everything that was inferred written out."""
    fields: Fields
    parts: dict[str, Samples]
    """Parts that hold at least one sample, by name; `train` is always there."""
    counts: dict[str, dict[str, int]]
    """Samples of each class in each part; under "" where there are no classes."""
    names: tuple[str, ...]
    """What to call each sample of the source; empty where its number is all there is."""
    fingerprint: str
    """SHA-256 of everything that was read."""
    notes: tuple[str, ...]
    example: pd.DataFrame | np.ndarray
    """A few raw samples without label, as `predict` takes them."""

    def name_of(self, number: int) -> str:
        """Return what to call a sample of the source."""
        return self.names[number] if self.names else str(number)


def read_source(dataset: Dataset) -> tuple[Records, str | None]:
    """Read all samples; also return the format, which built-in datasets have none of.

    Raises:
        JobError: nothing readable is there.

    """
    if dataset.source in BUILTIN and dataset.format is None:
        records = read_builtin(dataset.source)
        return replace(records, label=dataset.columns.label or records.label), None
    format_name = dataset.format or infer_format(Path(dataset.source).expanduser())
    if format_name is None:
        message = f"cannot infer the format of '{dataset.source}'; set dataset.format"
        raise JobError([Problem("dataset.source", message)])
    return read_path(dataset, format_name), format_name


def load_dataset(dataset: Dataset, task: TaskRow) -> LoadedDataset:
    """Read, check, split and encode.

    Raises:
        JobError: the data cannot teach the task; the message names rows, columns or files.

    """
    records, format_name = read_source(dataset)
    roles = _roles(records, dataset, task)
    if len(records) == 0:
        raise JobError([Problem("dataset.source", f"no rows in '{dataset.source}'")])
    records = in_memory_records(records, roles, dataset)
    labels = read_labels(records, roles.target, task.target)
    parts = choose_parts(records, dataset, labels)
    train = records.rows(np.flatnonzero(parts == "train"))
    fields = Fields.fit(train, roles, task.target, dataset)
    return LoadedDataset(
        spec=_completed(dataset, records, format_name, roles, fields),
        fields=fields,
        parts=_encoded(records, parts, fields, dataset.columns.weight),
        counts=_counts(labels, parts),
        names=records.names,
        fingerprint=fingerprint(records),
        notes=(
            *roles.notes,
            *_text_notes(train, fields),
            *_part_notes(records, dataset),
            *leak_warnings(sample_hashes(records, roles), parts, records),
            *class_warnings(_counts(labels, parts)),
        ),
        example=example_of(records, fields),
    )


def in_memory_records(records: Records, roles: Roles, dataset: Dataset) -> Records:
    """Decode the images and masks that a sample is made of.

    Raises:
        JobError: a file cannot be decoded; the message names it.

    """
    folder = Path(dataset.source).expanduser()
    folder = folder if folder.is_dir() else folder.parent
    columns = dict(records.columns)
    for name, kind in roles.inputs.items():
        if kind == "image":
            columns[name] = _image_column(image_files(columns[name], name, folder), dataset)
    target = columns.get(roles.target)
    if isinstance(target, Files):
        columns[roles.target] = replace(target, content=decode_masks(target, dataset.image.size))
    return replace(records, columns=columns)


def _image_column(column: RawColumn, dataset: Dataset) -> RawColumn:
    if isinstance(column, Files):
        return replace(column, content=decode_images(column, dataset.image.size))
    assert isinstance(column, np.ndarray)
    return resize(column, dataset.image.size)


def fingerprint(records: Records) -> str:
    """Hash everything that was read: all cells with their column names, and the pixels of images."""
    digest = hashlib.sha256()
    for name, column in records.columns.items():
        digest.update(name.encode() + b"\0")
        content = column.content if isinstance(column, Files) else column
        if isinstance(content, pd.Series):
            digest.update(pd.util.hash_pandas_object(content, index=False).to_numpy().tobytes())
        elif content is not None:
            digest.update(repr(content.shape).encode())
            digest.update(np.ascontiguousarray(content).data)
    return digest.hexdigest()


def example_of(records: Records, fields: Fields) -> pd.DataFrame | np.ndarray:
    """Return a few raw samples without label: rows of a table, or images as an array."""
    few = [pick(records.columns[name], np.arange(min(EXAMPLES, len(records)))) for name in fields.columns]
    if len(few) == 1 and not isinstance(few[0], pd.Series):
        content = few[0].content if isinstance(few[0], Files) else few[0]
        assert content is not None
        return content
    cells = {
        name: pd.Series([str(path) for path in column.names()]) if isinstance(column, Files) else column
        for name, column in zip(fields.columns, few, strict=True)
    }
    return pd.DataFrame(cells).reset_index(drop=True)


def _roles(records: Records, dataset: Dataset, task: TaskRow) -> Roles:
    """Check the named columns, and choose those to learn from."""
    columns = dataset.columns.model_copy(update={"label": records.label or None})
    needed = not task.target_optional
    if problems := list(column_problems(columns, list(records.columns), Path(dataset.source), needed)):
        raise JobError(problems)
    return infer_roles(records, columns, task)


def _encoded(records: Records, parts: np.ndarray, fields: Fields, weight: str | None) -> dict[str, Samples]:
    """Encode each part that holds a sample.

    Raises:
        JobError: a weight is none, or all weights of a part are 0.

    """
    everything = fields.encode(records, weight=weight)
    rows = {part: torch.from_numpy(np.flatnonzero(parts == part)) for part in PARTS}
    encoded = {part: everything.rows(index) for part, index in rows.items() if len(index)}
    for part, samples in encoded.items():
        if samples.weight is not None and not samples.weight.any():
            message = f"all samples of the {part} part weigh 0 in column '{weight}'"
            raise JobError([Problem("dataset.columns.weight", message)])
    return encoded


def _counts(labels: Labels, parts: np.ndarray) -> dict[str, dict[str, int]]:
    return {part: labels.counts(parts == part) for part in PARTS if (parts == part).any()}


def _text_notes(train: Records, fields: Fields) -> Iterator[str]:
    """Say how much of the texts is cut off."""
    for each in fields.inputs:
        if isinstance(each, TextField) and (cut := each.cut(train.columns[each.name])):
            longer = f"{cut:,} of {len(train):,} training texts have more than {each.length} words"
            yield f"column '{each.name}': {longer} and are cut off there (dataset.text.length)"


def _part_notes(records: Records, dataset: Dataset) -> Iterator[str]:
    """Say which of the job's shares mean nothing, because the source is split already."""
    if records.parts is not None and dataset.split != "none":
        own = [part for part in PARTS if part in records.parts]
        yield f"the source brings its own {' and '.join(own)}; dataset.split has a say only in what is missing"


def _completed(dataset: Dataset, records: Records, format_name: str | None, roles: Roles, fields: Fields) -> Dataset:
    """Write out what was inferred, so that the same file means the same thing again."""
    update: dict[str, object] = {"format": format_name}
    if records.is_table:
        columns = {
            "label": roles.target or None,
            "features": tuple(roles.inputs),
            "types": dict(roles.inputs),
            "drop": (),
        }
        update["columns"] = dataset.columns.model_copy(update=columns)
    if fields.signature.images:
        shape = next(iter(fields.signature.images.values()))
        update["image"] = dataset.image.model_copy(update={"size": (shape.height, shape.width)})
    if format_name is not None:
        update["source"] = str(Path(dataset.source).expanduser().absolute())
    return dataset.model_copy(update=update)
