"""Samples from a generative model."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch

from stoker.datasets.fields.category import ClassField
from stoker.datasets.rows import decoded_rows
from stoker.errors import JobError, Problem
from stoker.inference.model import Model
from stoker.randomness import PerSampleNoise
from stoker.tasks.abilities import CanSample, can_sample

BATCH = 64
ROWS = 1024
"""Rows of a table that are made at once."""


def sampler(model: Model) -> CanSample:
    """Return the network of a model that makes images or rows.

    Raises:
        JobError: it makes none.

    """
    if not can_sample(model.network):
        message = f"a model of {model.job.task} makes no samples; use stoker predict"
        raise JobError([Problem("", message)])
    return model.network


def generate(model: Model, count: int, seed: int, classes: tuple[str, ...] = ()) -> Iterator[tuple[str, np.ndarray]]:
    """Yield new images.

    Args:
        model: of image-generation.
        count: number of images.
        seed: the same seed gives the same images.
        classes: of the images, in turn; default: all classes of the data.

    Yields:
        The class, empty if the data has none, and (height, width, channels) uint8.

    Raises:
        JobError: the model cannot generate samples, or has no such class.

    """
    known = _known(model, classes)
    wanted = [classes[i % len(classes)] if classes else known[i % len(known)] if known else "" for i in range(count)]
    made = _samples(model, wanted, seed, "generate")
    image = model.fields.image
    for begin, few in zip(range(0, count, BATCH), made, strict=True):
        yield from zip(wanted[begin : begin + len(few)], image.pixels(few).numpy(), strict=True)


def generate_rows(model: Model, count: int, seed: int, classes: tuple[str, ...] = ()) -> pd.DataFrame:
    """Return new rows of a table, with the label where the data has one.

    Args:
        model: of table-generation.
        count: number of rows.
        seed: the same seed gives the same rows.
        classes: of the rows, in turn; default: as frequent as in the data.

    Raises:
        JobError: the model cannot generate samples, or has no such class.

    """
    known, target = _known(model, classes), model.fields.target
    wanted = [classes[i % len(classes)] if classes else "" for i in range(count)]
    if known and not classes:
        shares = (target.shares if isinstance(target, ClassField) else ()) or [1 / len(known)] * len(known)
        drawn = PerSampleNoise((seed, "classes"), range(count)).uniform().double().numpy()
        places = np.searchsorted(np.cumsum(shares)[:-1], drawn, side="right")
        wanted = [known[place] for place in places]
    made = torch.cat(list(_samples(model, wanted, seed, "rows")))
    table = decoded_rows(model.fields, made.numpy())
    return table if target is None else table.assign(**{target.name: wanted})


def _known(model: Model, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the classes of a model that makes samples.

    Raises:
        JobError: it makes none, or has not all of these classes.

    """
    sampler(model)
    known = model.fields.signature.classes
    if unknown := [name for name in classes if name not in known]:
        there = f"it knows {', '.join(known)}" if known else "it was trained without classes"
        raise JobError([Problem("", f"the model has no class {', '.join(unknown)}; {there}")])
    return known


def _samples(model: Model, wanted: list[str], seed: int, purpose: str) -> Iterator[torch.Tensor]:
    """Yield batches of what the network makes, a sample for each of these classes."""
    network, known = sampler(model), model.fields.signature.classes
    size = BATCH if model.fields.signature.images else ROWS
    for begin in range(0, len(wanted), size):
        few = wanted[begin : begin + size]
        places = torch.tensor([known.index(name) for name in few]) if known else None
        noise = PerSampleNoise((seed, purpose), range(begin, begin + len(few)))
        with torch.inference_mode():
            made = network.sample(places, noise).float()
        yield made
