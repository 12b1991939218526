"""Samples from a generative model."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from stoker.errors import JobError, Problem
from stoker.inference.model import Model
from stoker.randomness import generator
from stoker.tasks.abilities import CanSample

BATCH = 64


class PerSampleNoise:
    """Noise for each image by seed and number, so that an image does not depend on the others of its batch."""

    def __init__(self, seed: int, numbers: range) -> None:
        self._generators = [generator(seed, "generate", number) for number in numbers]

    def normal(self, *shape: int) -> Tensor:
        """Draw (B, *shape) from the standard normal distribution."""
        return torch.stack([torch.randn(shape, generator=each) for each in self._generators])

    def uniform(self, *shape: int) -> Tensor:
        """Draw (B, *shape) uniformly from 0 to 1."""
        return torch.stack([torch.rand(shape, generator=each) for each in self._generators])


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
    network = model.network
    if not isinstance(network, CanSample):
        message = f"a model of {model.job.task} makes no samples; use stoker predict"
        raise JobError([Problem("", message)])
    known = model.fields.signature.classes
    if unknown := [name for name in classes if name not in known]:
        there = f"it knows {', '.join(known)}" if known else "it was trained without classes"
        raise JobError([Problem("", f"the model has no class {', '.join(unknown)}; {there}")])
    wanted = [classes[i % len(classes)] if classes else known[i % len(known)] if known else "" for i in range(count)]
    places = torch.tensor([known.index(name) for name in wanted]) if known else None
    image = model.fields.image
    for begin in range(0, count, BATCH):
        end = min(begin + BATCH, count)
        noise = PerSampleNoise(seed, range(begin, end))
        with torch.inference_mode():
            made = network.sample(None if places is None else places[begin:end], noise)
        yield from zip(wanted[begin:end], image.pixels(made.float()).numpy(), strict=True)
