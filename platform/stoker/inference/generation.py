"""Samples from a generative model."""

from collections.abc import Iterator

import numpy as np
import torch

from stoker.errors import JobError, Problem
from stoker.inference.model import Model
from stoker.randomness import PerSampleNoise
from stoker.tasks.abilities import CanSample, can_sample

BATCH = 64


def sampler(model: Model) -> CanSample:
    """Return the network of a model that makes images.

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
    network = sampler(model)
    known = model.fields.signature.classes
    if unknown := [name for name in classes if name not in known]:
        there = f"it knows {', '.join(known)}" if known else "it was trained without classes"
        raise JobError([Problem("", f"the model has no class {', '.join(unknown)}; {there}")])
    wanted = [classes[i % len(classes)] if classes else known[i % len(known)] if known else "" for i in range(count)]
    places = torch.tensor([known.index(name) for name in wanted]) if known else None
    image = model.fields.image
    for begin in range(0, count, BATCH):
        end = min(begin + BATCH, count)
        noise = PerSampleNoise((seed, "generate"), range(begin, end))
        with torch.inference_mode():
            made = network.sample(None if places is None else places[begin:end], noise)
        yield from zip(wanted[begin:end], image.pixels(made.float()).numpy(), strict=True)
