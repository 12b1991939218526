"""Loads the `dataset` section of a job as encoded parts: read, check, split, fit, encode."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from stoker.datasets.cache import local_path
from stoker.datasets.dataset import LoadedDataset, example_of, fingerprint
from stoker.datasets.feeding.shards import find_shards
from stoker.datasets.feeding.sharing import load_shared
from stoker.datasets.feeding.streaming import load_stream
from stoker.datasets.fields.inference import Roles, infer_roles
from stoker.datasets.fields.schema import Fields
from stoker.datasets.fields.texts.text import completed_text
from stoker.datasets.formats.csv_dialect import Dialect
from stoker.datasets.formats.format_inference import infer_format, unknown_format
from stoker.datasets.formats.reading import read_path
from stoker.datasets.inspection import column_problems
from stoker.datasets.pictures.decoding import choose_loading, fitted_records, resident, with_files
from stoker.datasets.pictures.masks import with_colours
from stoker.datasets.pictures.picture_kinds import augmentation_notes, completed_image
from stoker.datasets.pictures.survey import survey
from stoker.datasets.records import PARTS, Records
from stoker.datasets.report.label_leaks import label_leaks
from stoker.datasets.report.report import class_warnings, leak_warnings, sample_hashes
from stoker.datasets.report.text_lengths import length_notes
from stoker.datasets.samples import Samples
from stoker.datasets.sources.builtin import read_builtin
from stoker.datasets.sources.schemes import is_remote
from stoker.datasets.split import choose_parts
from stoker.datasets.values.labels import Labels, is_quantity, label_notes, with_joined_spellings
from stoker.datasets.values.normality import labels_of
from stoker.datasets.windows.documents import MIN_DOCUMENTS, as_documents, split_within
from stoker.errors import JobError, Problem
from stoker.job.builtin import BUILTIN
from stoker.job.dataset import Dataset, Image, Text
from stoker.job.task import TEXTS, TaskRow
from stoker.jobfile.dataset_checks import without_effect


def read_source(dataset: Dataset) -> tuple[Records, str | None]:
    """Read all samples; return them and their format, None for built-in datasets.

    Raises:
        JobError: the source cannot be read.

    """
    if dataset.source in BUILTIN and dataset.format is None:
        records = read_builtin(dataset.source)
        return replace(records, label=dataset.columns.label or records.label), None
    path = local_path(dataset.source)
    format_name = dataset.format or infer_format(path)
    if format_name is None:
        raise JobError([unknown_format(path)])
    return read_path(dataset, path, format_name), format_name


def load_dataset(dataset: Dataset, task: TaskRow) -> LoadedDataset:
    """Read, check, split and encode a dataset.

    Raises:
        JobError: the data does not fit the task; the message names rows, columns or files.

    """
    if task.generates and "number" in task.inputs and dataset.columns.scaling is None:
        columns = dataset.columns.model_copy(update={"scaling": "quantile"})
        dataset = dataset.model_copy(update={"columns": columns})
    if found := find_shards(dataset):
        return load_stream(dataset, *found, task)
    return load_shared(dataset, task, lambda: _load(dataset, task))


def require_rows(records: Records, dataset: Dataset) -> None:
    """Raise JobError if a dataset has no rows."""
    if len(records) == 0:
        raise JobError([Problem("dataset.source", f"no rows in '{dataset.source}'")])


def _load(dataset: Dataset, task: TaskRow) -> LoadedDataset:
    records, format_name = read_source(dataset)
    dialect = records.dialect
    roles = _roles(records, dataset, task)
    if unused := list(_unused(dataset, roles, task)):
        raise JobError(unused)
    if task.of_texts and not TEXTS.isdisjoint((*roles.inputs.values(), task.target)):
        dataset = dataset.model_copy(update={"text": completed_text(dataset.text, task)})
    label = records.columns.get(roles.target)
    if task.generates and records.is_table and isinstance(label, pd.Series) and is_quantity(label):
        cure = "leave out dataset.columns.label, and it is made like the other columns"
        message = f"'{roles.target}' holds numbers, and new samples are of a class; {cure}"
        raise JobError([Problem("dataset.columns.label", message)])
    own_parts = records.parts is not None
    if task.target == "continuation":
        records = documents(records, roles, dataset, format_name)
    require_rows(records, dataset)
    odd = tuple(label_notes(records, roles.target, task.target))
    if dataset.columns.clean and task.target == "category":
        records = with_joined_spellings(records, roles.target)
    records = with_files(records, roles, task, dataset)
    looked = survey(records, roles, dataset, task)
    records, dataset = looked.records, looked.dataset
    records = with_colours(records, roles, dataset, task)
    loading = choose_loading(records, roles, dataset)
    if loading == "resident":
        records = resident(records, roles, dataset)
    labels = labels_of(records, roles, task.target, dataset)
    parts = choose_parts(records, dataset, labels)
    train = fitted_records(records, np.flatnonzero(parts == "train"), roles, dataset)
    fields = Fields.fit(train, roles, task.target, dataset)
    encoded = _encoded(records, parts, fields, dataset.columns.weight)
    if fields.layout.joins:
        counts = {part: {"": len(each)} for part, each in encoded.items()}
    else:
        counts = _counts(labels, _with_samples(parts, encoded))
    spec = _completed(dataset.model_copy(update={"loading": loading}), task, records, format_name, roles, fields)
    return LoadedDataset(
        spec=spec,
        fields=fields,
        parts=encoded,
        counts=counts,
        names=() if fields.layout.joins else records.names,
        fingerprint=fingerprint(records),
        notes=(
            *([f"read as: {dialect}"] if dialect not in ("", Dialect().text) else []),
            *roles.notes,
            *odd,
            *looked.notes,
            *augmentation_notes(dataset.image, spec.image, fields.signature),
            *(
                _document_notes(records, own_parts)
                if fields.layout.joins
                else fields.layout.notes(records, parts, encoded)
            ),
            *length_notes(fields, encoded),
            *(_part_notes(records, dataset) if own_parts else ()),
            *(leak_warnings(sample_hashes(records, roles), parts, records) if loading == "resident" else ()),
            *(label_leaks(records, roles, task.target, parts) if records.is_table else ()),
            *class_warnings(counts),
        ),
        example=example_of(records, fields),
    )


def documents(records: Records, roles: Roles, dataset: Dataset, format_name: str | None) -> Records:
    """Return documents to learn to write from; a few of them are split in themselves.

    Raises:
        JobError: the job asks for a weight of samples, which are parts of documents.

    """
    if dataset.columns.weight:
        message = "a text to learn to write is cut into pieces, which all weigh the same; leave it out"
        raise JobError([Problem("dataset.columns.weight", message)])
    (name,) = roles.inputs
    require_rows(records, dataset)
    records = as_documents(records, name, format_name)
    split = dataset.split
    if split == "none" or split.column or split.time or dataset.columns.group or records.parts is not None:
        return records
    return records if len(records) >= MIN_DOCUMENTS else split_within(records, name, split)


def _unused(dataset: Dataset, roles: Roles, task: TaskRow) -> Iterator[Problem]:
    """Name the settings of images and texts in a dataset that has none."""
    kinds = set(roles.inputs.values())
    if "image" not in kinds:
        yield from without_effect("dataset.image", dataset.image, Image(), "this data, which has no images")
    if "words" in kinds and dataset.text.tokens not in (None, "words"):
        message = "does nothing for this data, whose column is a list of words; leave it out"
        yield Problem("dataset.text.tokens", message)
    elif kinds.isdisjoint(TEXTS) and task.target not in TEXTS:
        untold = Text(tokenizer=dataset.text.tokenizer)  # of a network for texts, which says so itself
        yield from without_effect("dataset.text", dataset.text, untold, "this data, which has no column of texts")


def _roles(records: Records, dataset: Dataset, task: TaskRow) -> Roles:
    """Check the named columns, and choose inputs and target."""
    columns = dataset.columns.model_copy(update={"label": records.label or None})
    dataset = dataset.model_copy(update={"columns": columns})
    needed = not task.target_optional
    if problems := list(column_problems(dataset, list(records.columns), Path(dataset.source), needed)):
        raise JobError(problems)
    single = {"columns.weight": columns.weight, "columns.group": columns.group}
    single["columns.label"] = "" if task.target == "mask" else columns.label
    if dataset.split != "none":
        single |= {"split.column": dataset.split.column, "split.time": dataset.split.time}
    for key, name in single.items():
        if name and not isinstance(records.columns[name], pd.Series):
            message = f"column '{name}' holds images, not one value for each sample"
            raise JobError([Problem(f"dataset.{key}", message)])
    return infer_roles(records, dataset, task)


def _encoded(records: Records, parts: np.ndarray, fields: Fields, weight: str | None) -> dict[str, Samples]:
    """Encode each part that has samples.

    Raises:
        JobError: a weight is invalid, or all weights of a part are 0.

    """
    if fields.layout.joins:  # windows do not reach beyond their part
        chosen = {part: records.rows(np.flatnonzero(parts == part)) for part in PARTS}
        encoded = {part: fields.encode(few) for part, few in chosen.items() if len(few)}
        if len(encoded["train"]) == 0:
            raise JobError([Problem("dataset.source", "the training part holds no text: there is nothing to learn")])
        return {part: samples for part, samples in encoded.items() if len(samples)}
    everything = fields.encode(records, weight=weight)
    of_samples = parts[everything.ids.numpy()]  # a record may be several of them
    rows = {part: torch.from_numpy(np.flatnonzero(of_samples == part)) for part in PARTS}
    encoded = {part: everything.rows(index) for part, index in rows.items() if len(index)}
    for part, samples in encoded.items():
        if samples.weight is not None and not samples.weight.any():
            message = f"all samples of the {part} part weigh 0 in column '{weight}'"
            raise JobError([Problem("dataset.columns.weight", message)])
    return encoded


def _with_samples(parts: np.ndarray, encoded: Mapping[str, Samples]) -> np.ndarray:
    """Return (N,) the part of each record, "" for one of which nothing is learnt."""
    there = torch.cat([samples.ids for samples in encoded.values()]).numpy()
    return np.where(np.isin(np.arange(len(parts)), there), parts, "")


def _counts(labels: Labels, parts: np.ndarray) -> dict[str, dict[str, int]]:
    return {part: labels.counts(parts == part) for part in PARTS if (parts == part).any()}


def _document_notes(records: Records, own_parts: bool) -> Iterator[str]:
    """Yield a note on how documents to learn to write from were split."""
    if records.parts is not None and not own_parts:
        yield "the text is split in itself: its beginning is for training, its end for the test"


def _part_notes(records: Records, dataset: Dataset) -> Iterator[str]:
    """Yield a note if the source is split already, which overrides the job's shares."""
    if dataset.split != "none":
        assert records.parts is not None
        own = f"the source has its own {' and '.join(part for part in PARTS if part in records.parts)}"
        if dataset.split.column:
            yield f"{own}; dataset.split.column decides instead"
        else:
            yield f"{own}; dataset.split decides only about missing parts"


def _completed(
    dataset: Dataset, task: TaskRow, records: Records, format_name: str | None, roles: Roles, fields: Fields
) -> Dataset:
    """Fill in all inferred values, so that the resolved job is reproducible."""
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
        update["image"] = completed_image(dataset.image, fields.signature, task)
    if format_name is not None and not is_remote(dataset.source):
        update["source"] = str(Path(dataset.source).expanduser().absolute())
    return dataset.model_copy(update=update)
