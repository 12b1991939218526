"""From raw samples to tensors: encoders learnt on the training part, then used on all."""

import numpy as np
import torch

from stoker.datasets.columns import Features, as_weights
from stoker.datasets.encoders import Encoders, ImageEncoder, TableEncoder, mean_and_scale
from stoker.datasets.labels import Labels, known_labels
from stoker.datasets.samples import PARTS, Pictures, Raw, Samples, Table
from stoker.errors import JobError, Problem
from stoker.job.signature import ClassOutput, Output, ValueOutput


def fit_encoders(raw: Raw, labels: Labels, train: np.ndarray, features: Features | None) -> Encoders:
    """Learn from the training part alone.

    Args:
        raw: all samples.
        labels: theirs.
        train: (N,) bool, true for the training part.
        features: the columns to learn from, of a table.

    """
    encoder: TableEncoder | ImageEncoder
    if isinstance(raw, Pictures):
        encoder = ImageEncoder.fit(raw.pixels[train])
    else:
        assert features is not None
        encoder = TableEncoder.fit(raw.frame[train], features.numbers, features.categories)
    output: Output
    if labels.classes is not None:
        output = ClassOutput(labels.classes)
    else:
        output = ValueOutput(raw.label if isinstance(raw, Table) else "", *mean_and_scale(labels.values[train]))
    return Encoders(encoder, output)


def encode_parts(
    raw: Raw, labels: Labels, parts: np.ndarray, encoders: Encoders, weight: str | None
) -> dict[str, Samples]:
    """Encode each part that holds a sample.

    Raises:
        JobError: a weight is none, or all weights of a part are 0.

    """
    everything = _encode(raw, labels, encoders, weight)
    rows = {part: torch.from_numpy(np.flatnonzero(parts == part)) for part in PARTS}
    encoded = {part: everything.rows(index) for part, index in rows.items() if len(index)}
    for part, samples in encoded.items():
        if samples.weight is not None and not samples.weight.any():
            message = f"all samples of the {part} part weigh 0 in column '{weight}'"
            raise JobError([Problem("dataset.columns.weight", message)])
    return encoded


def encode_labelled(raw: Raw, encoders: Encoders, weight: str | None = None) -> Samples:
    """Encode samples with labels by encoders that were fitted before.

    Args:
        raw: the samples.
        encoders: the model's.
        weight: the column of weights, where the samples have it.

    Raises:
        JobError: the label or a feature is missing, or a class is new.

    """
    if len(raw) == 0:
        raise JobError([Problem("", "no rows to evaluate")])
    if isinstance(raw, Table) != isinstance(encoders.input, TableEncoder):
        kinds = ("pictures", "a table") if isinstance(raw, Table) else ("a table", "pictures")
        raise JobError([Problem("", f"the model takes {kinds[0]}, the input is {kinds[1]}")])
    if isinstance(raw, Table):
        assert isinstance(encoders.input, TableEncoder)
        encoders.input.check(raw.frame, raw.label)
        weight = weight if weight in raw.frame.columns else None
    return _encode(raw, known_labels(raw, encoders.classes), encoders, weight)


def _encode(raw: Raw, labels: Labels, encoders: Encoders, weight: str | None) -> Samples:
    weights = None
    if isinstance(raw, Pictures):
        assert isinstance(encoders.input, ImageEncoder)
        inputs = {"image": torch.from_numpy(encoders.input.fitting(raw.pixels))}
    else:
        assert isinstance(encoders.input, TableEncoder)
        inputs = encoders.input.encode(raw.frame)
        weights = torch.from_numpy(as_weights(raw.frame[weight], weight)) if weight else None
    return Samples(inputs, labels.encoded(), weights, torch.arange(len(raw)))
