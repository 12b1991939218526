"""From the `dataset` section of a job to encoded parts: read, check, split, fit, encode."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from stoker.datasets.cache import local_path
from stoker.datasets.columns import Features, infer_features
from stoker.datasets.encoders import Encoders, ImageEncoder, TableEncoder
from stoker.datasets.encoding import encode_parts, fit_encoders
from stoker.datasets.formats.image_folder import resize
from stoker.datasets.inspection import column_problems, infer_format
from stoker.datasets.labels import read_labels
from stoker.datasets.samples import PARTS, Pictures, Raw, Samples, Table
from stoker.datasets.sources.builtin import read_builtin
from stoker.datasets.sources.local import read_local
from stoker.datasets.sources.schemes import is_remote
from stoker.datasets.splitting import choose_parts
from stoker.errors import JobError, Problem
from stoker.job.dataset import BUILTIN, Dataset
from stoker.job.task import TaskRow


@dataclass(frozen=True)
class LoadedDataset:
    """A dataset that is ready for training."""

    spec: Dataset
    """The section with everything that was inferred written out."""
    encoders: Encoders
    parts: dict[str, Samples]
    """Parts that hold at least one sample, by name; `train` is always there."""
    counts: dict[str, dict[str, int]]
    """Samples of each class in each part; under "" for values."""
    names: tuple[str, ...]
    """What to call each sample of the source; empty where its number is all there is."""
    fingerprint: str
    """SHA-256 of everything that was read."""
    notes: tuple[str, ...]
    example: pd.DataFrame | np.ndarray
    """A few raw samples without label, as `predict` takes them."""

    def name_of(self, number: int) -> str:
        """Say what to call a sample of the source."""
        return self.names[number] if self.names else str(number)


def read_source(dataset: Dataset) -> tuple[Raw, str | None]:
    """Read all samples; also tell the format, which built-in datasets have none of.

    Raises:
        JobError: nothing readable is there.

    """
    if dataset.source in BUILTIN and dataset.format is None:
        raw = read_builtin(dataset.source)
        if isinstance(raw, Pictures):
            return replace(raw, pixels=resize(raw.pixels, dataset.image.size)), None
        return replace(raw, label=dataset.columns.label or raw.label), None
    path = local_path(dataset.source)
    format_name = dataset.format or infer_format(path)
    if format_name is None:
        message = f"cannot tell the format of '{dataset.source}'; set dataset.format"
        raise JobError([Problem("dataset.source", message)])
    return read_local(dataset, path, format_name), format_name


def load_dataset(dataset: Dataset, task: TaskRow) -> LoadedDataset:
    """Read, check, split and encode.

    Raises:
        JobError: the data cannot teach the task; the message names rows, columns or files.

    """
    raw, format_name = read_source(dataset)
    features = _features(raw, dataset)
    if len(raw) == 0:
        raise JobError([Problem("dataset.source", f"no rows in '{dataset.source}'")])
    labels = read_labels(raw, task.target)
    parts = choose_parts(raw, dataset, labels)
    encoders = fit_encoders(raw, labels, parts == "train", features)
    return LoadedDataset(
        spec=_completed(dataset, raw, format_name, features, encoders),
        encoders=encoders,
        parts=encode_parts(raw, labels, parts, encoders, dataset.columns.weight),
        counts={part: labels.counts(parts == part) for part in PARTS if (parts == part).any()},
        names=raw.names if isinstance(raw, Pictures) else (),
        fingerprint=fingerprint(raw),
        notes=(*(features.notes if features else ()), *_part_notes(raw, dataset)),
        example=_example(raw, encoders),
    )


def fingerprint(raw: Raw) -> str:
    """Hash everything that was read: pixels and labels, or all cells and column names."""
    digest = hashlib.sha256()
    if isinstance(raw, Pictures):
        digest.update(repr(raw.pixels.shape).encode())
        digest.update(raw.pixels.tobytes())
        digest.update("\0".join(map(str, raw.labels if raw.labels is not None else ())).encode())
    else:
        digest.update("\0".join(map(str, raw.frame.columns)).encode())
        digest.update(pd.util.hash_pandas_object(raw.frame, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def _part_notes(raw: Raw, dataset: Dataset) -> Iterator[str]:
    """Say which of the job's shares mean nothing, because the source is split already."""
    if raw.parts is not None and dataset.split != "none":
        own = [part for part in PARTS if part in raw.parts]
        yield f"the source brings its own {' and '.join(own)}; dataset.split has a say only in what is missing"


def _features(raw: Raw, dataset: Dataset) -> Features | None:
    """Check the named columns of a table, and choose those to learn from."""
    if isinstance(raw, Pictures):
        return None
    columns = dataset.columns.model_copy(update={"label": raw.label or None})
    if problems := list(column_problems(columns, list(raw.frame.columns), Path(dataset.source))):
        raise JobError(problems)
    features = infer_features(raw.frame, raw.label, columns)
    if len(raw) and not features.numbers and not features.categories:
        message = f"no column is left to predict from: {'; '.join(features.notes) or 'there is only the label'}"
        raise JobError([Problem("dataset.columns.features", message)])
    return features


def _completed(
    dataset: Dataset, raw: Raw, format_name: str | None, features: Features | None, encoders: Encoders
) -> Dataset:
    """Write out what was inferred, so that the same file means the same thing again."""
    update: dict[str, object] = {"format": format_name}
    if isinstance(raw, Table):
        assert features is not None
        columns = {
            "label": raw.label,
            "features": (*features.numbers, *features.categories),
            "types": {**dict.fromkeys(features.numbers, "number"), **dict.fromkeys(features.categories, "category")},
            "drop": (),
        }
        update["columns"] = dataset.columns.model_copy(update=columns)
    elif isinstance(encoders.input, ImageEncoder):
        size = (encoders.input.height, encoders.input.width)
        update["image"] = dataset.image.model_copy(update={"size": size})
    if format_name is not None and not is_remote(dataset.source):
        update["source"] = str(Path(dataset.source).expanduser().absolute())
    return dataset.model_copy(update=update)


def _example(raw: Raw, encoders: Encoders) -> pd.DataFrame | np.ndarray:
    if isinstance(raw, Pictures):
        return raw.pixels[:2]
    assert isinstance(encoders.input, TableEncoder)
    return raw.frame[list(encoders.input.columns)].head(3).reset_index(drop=True)
