"""From the `dataset` section of a job to encoded parts: read, check, split, fit, encode."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from stoker.datasets.columns import Features, as_numbers, as_text, infer_features
from stoker.datasets.encoders import Encoders, ImageEncoder, TableEncoder, encode_classes, sorted_classes
from stoker.datasets.inspection import infer_format
from stoker.datasets.samples import PARTS, Pictures, Raw, Samples, Table
from stoker.datasets.sources.builtin import read_builtin
from stoker.datasets.sources.local import read_local
from stoker.datasets.splitting import complete_parts, split_parts
from stoker.errors import JobError, Problem
from stoker.spec.dataset import BUILTIN, Columns, Dataset, Split
from stoker.spec.signature import ClassOutput, ValueOutput
from stoker.spec.task import TaskRow

MOST_CLASSES = 10_000


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


def read_source(dataset: Dataset) -> tuple[Raw, str | None]:
    """Read all samples; also tell the format, which built-in datasets have none of.

    Raises:
        JobError: nothing readable is there.

    """
    if dataset.source in BUILTIN and dataset.format is None:
        return read_builtin(dataset.source), None
    format_name = dataset.format or infer_format(Path(dataset.source).expanduser())
    if format_name is None:
        message = f"cannot tell the format of '{dataset.source}'; set dataset.format"
        raise JobError([Problem("dataset.source", message)])
    return read_local(dataset, format_name), format_name


def load_dataset(dataset: Dataset, task: TaskRow) -> LoadedDataset:
    """Read, check, split and encode.

    Raises:
        JobError: the data cannot teach the task; the message names rows, columns or files.

    """
    raw, format_name = read_source(dataset)
    if len(raw) == 0:
        raise _problem("dataset.source", f"no rows in '{dataset.source}'")
    labels, classes = _labels(raw, task)
    parts = _parts(raw, dataset, labels if task.target == "class" else None)
    _check_parts(parts, labels, classes)
    features = _features(raw, dataset)
    encoders = _fit(raw, labels, classes, parts, features)
    target = encode_classes(labels, classes) if classes is not None else torch.from_numpy(labels.astype(np.float32))
    encoded = {
        part: _encode(raw, encoders, target, np.flatnonzero(parts == part), dataset.columns.weight) for part in PARTS
    }
    return LoadedDataset(
        spec=_completed(dataset, raw, format_name, features, encoders),
        encoders=encoders,
        parts={part: samples for part, samples in encoded.items() if len(samples)},
        counts={part: _count(labels[parts == part], classes) for part in PARTS if (parts == part).any()},
        names=raw.names if isinstance(raw, Pictures) else (),
        fingerprint=fingerprint(raw),
        notes=features.notes if features else (),
        example=_example(raw, encoders),
    )


def fingerprint(raw: Raw) -> str:
    """Hash everything that was read: pixels and labels, or all cells and column names."""
    digest = hashlib.sha256()
    if isinstance(raw, Pictures):
        digest.update(raw.pixels.tobytes())
        digest.update("\0".join(map(str, raw.labels if raw.labels is not None else ())).encode())
    else:
        digest.update("\0".join(map(str, raw.frame.columns)).encode())
        digest.update(pd.util.hash_pandas_object(raw.frame, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def _problem(path: str, message: str) -> JobError:
    return JobError([Problem(path, message)])


def _labels(raw: Raw, task: TaskRow) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Return the target of each sample, and the classes where it is one."""
    path = "dataset.columns.label" if isinstance(raw, Table) else "dataset.source"
    if isinstance(raw, Table):
        column = raw.frame[raw.label]
        labels = as_numbers(column) if task.target == "value" else as_text(column)
        _check_missing(column, labels, raw.label, task)
    else:
        assert raw.labels is not None
        labels = raw.labels
    if task.target == "value":
        return labels, None
    classes = sorted_classes(labels)
    if len(classes) == 1:
        raise _problem(path, f"only one class, '{classes[0]}': there is nothing to tell apart")
    if len(classes) > MOST_CLASSES or (len(classes) > 100 and len(classes) > len(labels) / 2):
        raise _problem(path, f"{len(classes)} classes in {len(labels)} samples; is it a number (tabular-regression)?")
    return labels, classes


def _check_missing(column: pd.Series, labels: np.ndarray, name: str, task: TaskRow) -> None:
    missing = np.array([value is None or value != value for value in labels])  # NaN differs from itself
    if not missing.any():
        return
    path = "dataset.columns.label"
    first = int(np.flatnonzero(missing)[0])
    value = column.iloc[first]
    if task.target == "value" and not pd.isna(value):
        raise _problem(path, f"'{value}' in column '{name}', row {first + 1}, is not a finite number")
    raise _problem(
        path,
        f"{missing.sum()} of {len(labels)} rows have no value in column '{name}' (first: row {first + 1}); remove them",
    )


def _parts(raw: Raw, dataset: Dataset, classes: np.ndarray | None) -> np.ndarray:
    split = dataset.split
    if split == "none":
        return np.full(len(raw), "train")
    assert isinstance(split, Split)
    strata = classes if split.stratify else None
    if raw.parts is not None:
        return complete_parts(raw.parts, split, strata)
    group = dataset.columns.group
    if group and isinstance(raw, Table):
        return split_parts(split, len(raw), groups=as_text(raw.frame[group]).astype(str))
    return split_parts(split, len(raw), strata)


def _check_parts(parts: np.ndarray, labels: np.ndarray, classes: tuple[str, ...] | None) -> None:
    train = labels[parts == "train"]
    if len(train) == 0:
        raise _problem("dataset.split", f"no sample is left to learn from, of {len(labels)}")
    if classes is None:
        return
    problems = []
    known = set(train)
    for part in ("val", "test"):
        for name, count in sorted(Counter(labels[parts == part]).items()):
            if name not in known:
                message = f"class '{name}' is in {part} ({count} samples) but not in train; a network cannot learn it"
                problems.append(Problem("dataset.split", message))
    if problems:
        raise JobError(problems)


def _features(raw: Raw, dataset: Dataset) -> Features | None:
    if isinstance(raw, Pictures):
        return None
    features = infer_features(raw.frame, raw.label, dataset.columns)
    if not features.numbers and not features.categories:
        raise _problem("dataset.columns.features", f"no column is left to predict from: {'; '.join(features.notes)}")
    return features


def _fit(
    raw: Raw, labels: np.ndarray, classes: tuple[str, ...] | None, parts: np.ndarray, features: Features | None
) -> Encoders:
    """Learn from the training part alone."""
    train = parts == "train"
    encoder: TableEncoder | ImageEncoder
    if isinstance(raw, Pictures):
        encoder = ImageEncoder.fit(raw.pixels[train])
    else:
        assert features is not None
        encoder = TableEncoder.fit(raw.frame[train], features.numbers, features.categories)
    if classes is not None:
        return Encoders(encoder, ClassOutput(classes))
    values = labels[train].astype(np.float64)
    scale = float(values.std())
    name = raw.label if isinstance(raw, Table) else ""
    return Encoders(encoder, ValueOutput(name, float(values.mean()), scale if scale > 0 else 1.0))


def _encode(raw: Raw, encoders: Encoders, target: torch.Tensor, rows: np.ndarray, weight: str | None) -> Samples:
    index = torch.from_numpy(rows)
    weights = None
    if isinstance(raw, Pictures):
        inputs = {"image": torch.from_numpy(raw.pixels[rows])}
    else:
        assert isinstance(encoders.input, TableEncoder)
        inputs = encoders.input.encode(raw.frame.iloc[rows])
        if weight:
            weights = torch.from_numpy(_weights(raw.frame[weight], weight)[rows])
    return Samples(inputs, target[index], weights, index)


def _weights(column: pd.Series, name: str) -> np.ndarray:
    values = as_numbers(column)
    bad = np.flatnonzero(~(values >= 0))
    if len(bad):
        message = f"'{column.iloc[bad[0]]}' in column '{name}', row {bad[0] + 1}, is not a weight of 0 or more"
        raise _problem("dataset.columns.weight", message)
    return values.astype(np.float32)


def _count(labels: np.ndarray, classes: tuple[str, ...] | None) -> dict[str, int]:
    if classes is None:
        return {"": len(labels)}
    counts = Counter(labels)
    return {name: counts[name] for name in classes}


def _completed(
    dataset: Dataset, raw: Raw, format_name: str | None, features: Features | None, encoders: Encoders
) -> Dataset:
    """Write out what was inferred, so that the same file means the same thing again."""
    update: dict[str, object] = {"format": format_name}
    if isinstance(raw, Table):
        assert features is not None
        types = {**dict.fromkeys(features.numbers, "number"), **dict.fromkeys(features.categories, "category")}
        columns: Columns = dataset.columns.model_copy(
            update={
                "label": raw.label,
                "features": (*features.numbers, *features.categories),
                "types": types,
                "drop": (),
            }
        )
        update["columns"] = columns
    elif isinstance(encoders.input, ImageEncoder):
        size = (encoders.input.height, encoders.input.width)
        update["image"] = dataset.image.model_copy(update={"size": size})
    if Path(dataset.source).expanduser().exists() and dataset.source not in BUILTIN:
        update["source"] = str(Path(dataset.source).expanduser().absolute())
    return dataset.model_copy(update=update)


def _example(raw: Raw, encoders: Encoders) -> pd.DataFrame | np.ndarray:
    if isinstance(raw, Pictures):
        return raw.pixels[:2]
    assert isinstance(encoders.input, TableEncoder)
    return raw.frame[list(encoders.input.columns)].head(3).reset_index(drop=True)


def encode_labelled(raw: Raw, encoders: Encoders) -> Samples:
    """Encode samples with labels by encoders that were fitted before.

    Raises:
        JobError: the label or a feature is missing, or a class is new.

    """
    rows = np.arange(len(raw))
    if len(raw) == 0:
        raise _problem("", "no rows to evaluate")
    if isinstance(raw, Table):
        assert isinstance(encoders.input, TableEncoder)
        if missing := [name for name in (raw.label, *encoders.input.columns) if name not in raw.frame.columns]:
            raise _problem("", f"the input lacks the columns {', '.join(missing)}")
    if isinstance(encoders.output, ValueOutput):
        assert isinstance(raw, Table)
        return _encode(raw, encoders, torch.from_numpy(as_numbers(raw.frame[raw.label]).astype(np.float32)), rows, None)
    labels = as_text(raw.frame[raw.label]) if isinstance(raw, Table) else raw.labels
    assert labels is not None
    if unknown := sorted({str(label) for label in labels} - set(encoders.output.classes)):
        raise _problem("", f"classes the model does not know: {', '.join(unknown[:5])}")
    return _encode(raw, encoders, encode_classes(labels, encoders.output.classes), rows, None)
