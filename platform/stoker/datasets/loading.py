"""From the `dataset` section of a job to encoded parts: read, check, split, fit, encode."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import psutil
import torch

from stoker.datasets.cache import local_path
from stoker.datasets.fields.inference import Roles, image_files, infer_roles
from stoker.datasets.fields.schema import Fields
from stoker.datasets.fields.text import TextField
from stoker.datasets.formats.reading import read_path
from stoker.datasets.images import decode_images, decode_masks, image_sizes, resize
from stoker.datasets.inspection import column_problems, infer_format
from stoker.datasets.labels import Labels, read_labels
from stoker.datasets.records import PARTS, Files, RawColumn, Records, pick
from stoker.datasets.report import class_warnings, leak_warnings, sample_hashes
from stoker.datasets.samples import Samples
from stoker.datasets.sources.builtin import read_builtin
from stoker.datasets.sources.schemes import is_remote
from stoker.datasets.split import choose_parts
from stoker.errors import JobError, Problem
from stoker.job.dataset import BUILTIN, Dataset
from stoker.job.task import TaskRow

EXAMPLES = 3
LOOKED_AT = 200
"""Files whose headers tell how large a dataset is once it is decoded."""
CHANNELS = 3
RESIDENT_SHARE = 0.25
"""Of the machine's memory: as much may be taken by decoded images of a dataset."""
FITTED_FILES = 1000
"""Files that tell mean, deviation and classes of a dataset that is not decoded as a whole."""
Loading = Literal["resident", "loaded"]


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
    path = local_path(dataset.source)
    format_name = dataset.format or infer_format(path)
    if format_name is None:
        message = f"cannot infer the format of '{dataset.source}'; set dataset.format"
        raise JobError([Problem("dataset.source", message)])
    return read_path(dataset, path, format_name), format_name


def load_dataset(dataset: Dataset, task: TaskRow) -> LoadedDataset:
    """Read, check, split and encode.

    Raises:
        JobError: the data cannot teach the task; the message names rows, columns or files.

    """
    records, format_name = read_source(dataset)
    roles = _roles(records, dataset, task)
    if len(records) == 0:
        raise JobError([Problem("dataset.source", f"no rows in '{dataset.source}'")])
    records = with_files(records, roles, task, dataset)
    loading = choose_loading(records, roles, dataset)
    if loading == "resident":
        records = resident(records, roles, dataset)
    labels = read_labels(records, roles.target, task.target)
    parts = choose_parts(records, dataset, labels)
    train = fitted_records(records, np.flatnonzero(parts == "train"), roles, dataset)
    fields = Fields.fit(train, roles, task.target, dataset)
    counts = _counts(labels, parts)
    return LoadedDataset(
        spec=_completed(dataset.model_copy(update={"loading": loading}), records, format_name, roles, fields),
        fields=fields,
        parts=_encoded(records, parts, fields, dataset.columns.weight),
        counts=counts,
        names=records.names,
        fingerprint=fingerprint(records),
        notes=(
            *roles.notes,
            *_text_notes(train, fields),
            *_part_notes(records, dataset),
            *(leak_warnings(sample_hashes(records, roles), parts, records) if loading == "resident" else ()),
            *class_warnings(counts),
        ),
        example=example_of(records, fields),
    )


def with_files(records: Records, roles: Roles, task: TaskRow, dataset: Dataset) -> Records:
    """Turn the columns that hold paths of images or masks into files.

    Raises:
        JobError: a path names no file, or leads out of the folder.

    """
    columns = dict(records.columns)
    names = [name for name, kind in roles.inputs.items() if kind == "image"]
    names += [roles.target] if task.target == "mask" else []
    if paths := [name for name in names if isinstance(columns[name], pd.Series)]:
        folder = local_path(dataset.source)
        folder = folder if folder.is_dir() else folder.parent
        columns |= {name: image_files(columns[name], name, folder) for name in paths}
    return replace(records, columns=columns)


def choose_loading(records: Records, roles: Roles, dataset: Dataset) -> Loading:
    """Return how the files of a dataset come into a step, by the memory that they take once decoded.

    Raises:
        JobError: the images differ in size, and the job does not say which to bring them to.

    """
    files = [each for each in _images_and_masks(records, roles).values() if isinstance(each, Files)]
    if dataset.loading != "auto" or not files:
        return "loaded" if dataset.loading == "loaded" and files else "resident"
    height, width = dataset.image.size or max(
        image_sizes(files[0].rows(np.arange(min(len(files[0]), LOOKED_AT)))), default=(0, 0)
    )
    needed = sum(len(each) for each in files) * height * width * CHANNELS
    return "resident" if needed <= RESIDENT_SHARE * psutil.virtual_memory().total else "loaded"


def resident(records: Records, roles: Roles, dataset: Dataset) -> Records:
    """Decode the images and masks that a sample is made of.

    Raises:
        JobError: a file cannot be decoded; the message names it.

    """
    columns = dict(records.columns)
    for name, column in _images_and_masks(records, roles).items():
        if isinstance(column, Files):
            decode = decode_masks if name == roles.target else decode_images
            columns[name] = replace(column, content=decode(column, dataset.image.size))
        elif name != roles.target:
            columns[name] = resize(column, dataset.image.size)
    return replace(records, columns=columns)


def fitted_records(records: Records, train: np.ndarray, roles: Roles, dataset: Dataset) -> Records:
    """Return the training records that fields are fitted on; of files that are not in memory some are decoded.

    Raises:
        JobError: a file cannot be decoded, or images differ in size and the job does not say which to bring them to.

    """
    columns = dict(records.rows(train).columns)
    for name, column in _images_and_masks(records, roles).items():
        if isinstance(column, Files) and column.content is None:
            _check_one_size(column, dataset)
            some = column.rows(train[np.unique(np.linspace(0, len(train) - 1, FITTED_FILES).astype(int))])
            decode = decode_masks if name == roles.target else decode_images
            columns[name] = replace(some, content=decode(some, dataset.image.size))
    return Records(columns, records.label)


def _check_one_size(files: Files, dataset: Dataset) -> None:
    """Check by their headers that all images have one size, unless the job names one.

    Raises:
        JobError: they differ.

    """
    if dataset.image.size is None and len(found := sorted(set(image_sizes(files)))) > 1:
        (height, width), (other, wide) = found[0], found[-1]
        message = f"the images differ in size, from {height}x{width} to {other}x{wide}; set dataset.image.size"
        raise JobError([Problem("dataset.image.size", message)])


def _images_and_masks(records: Records, roles: Roles) -> dict[str, Files | np.ndarray]:
    names = [name for name, kind in roles.inputs.items() if kind == "image"]
    names += [roles.target] if roles.target else []
    columns = {name: records.columns[name] for name in names}
    return {name: column for name, column in columns.items() if not isinstance(column, pd.Series)}


def fingerprint(records: Records) -> str:
    """Hash everything that was read: all cells with their column names, and the pixels of images.

    Of files that are decoded when they are taken, names and sizes stand for the content.
    """
    digest = hashlib.sha256()
    for name, column in records.columns.items():
        digest.update(name.encode() + b"\0")
        content = column.content if isinstance(column, Files) else column
        if isinstance(content, pd.Series):
            digest.update(pd.util.hash_pandas_object(content, index=False).to_numpy().tobytes())
        elif content is None:
            assert isinstance(column, Files)
            sizes = [path.stat().st_size for path in column.paths]
            digest.update(
                "".join(f"{name} {size}\n" for name, size in zip(column.names(), sizes, strict=True)).encode()
            )
        else:
            digest.update(repr(content.shape).encode())
            digest.update(np.ascontiguousarray(content).data)
    return digest.hexdigest()


def example_of(records: Records, fields: Fields) -> pd.DataFrame | np.ndarray:
    """Return a few raw samples without label: rows of a table, or images as an array."""
    few = [pick(records.columns[name], np.arange(min(EXAMPLES, len(records)))) for name in fields.columns]
    if len(few) == 1 and not isinstance(few[0], pd.Series):
        content = few[0].content if isinstance(few[0], Files) else few[0]
        return records_pixels(few[0], fields) if content is None else content
    return pd.DataFrame({name: _cells(column) for name, column in zip(fields.columns, few, strict=True)})


def _cells(column: RawColumn) -> pd.Series:
    """Return the values of a column as cells of a table: files by their names, images in memory as nested lists."""
    if isinstance(column, pd.Series):
        return column.reset_index(drop=True)
    return pd.Series(list(column.names()) if isinstance(column, Files) else column.tolist())


def records_pixels(column: RawColumn, fields: Fields) -> np.ndarray:
    """Decode the files of the only image of a sample."""
    assert isinstance(column, Files)
    return fields.image.decode(column).numpy()


def _roles(records: Records, dataset: Dataset, task: TaskRow) -> Roles:
    """Check the named columns, and choose those to learn from."""
    columns = dataset.columns.model_copy(update={"label": records.label or None})
    needed = not task.target_optional
    if problems := list(column_problems(columns, list(records.columns), Path(dataset.source), needed)):
        raise JobError(problems)
    single = {"weight": columns.weight, "group": columns.group, "label": "" if task.target == "mask" else columns.label}
    for key, name in single.items():
        if name and not isinstance(records.columns[name], pd.Series):
            message = f"column '{name}' holds images, not one value for each sample"
            raise JobError([Problem(f"dataset.columns.{key}", message)])
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
            longer = f"{cut:,} of {len(train.columns[each.name]):,} training texts have more than {each.length} words"
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
    if format_name is not None and not is_remote(dataset.source):
        update["source"] = str(Path(dataset.source).expanduser().absolute())
    return dataset.model_copy(update=update)
