"""Samples from a generative model."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from stoker.datasets.fields.category import ClassField
from stoker.datasets.rows import decoded_rows
from stoker.errors import JobError, Problem
from stoker.inference.model import Model
from stoker.randomness import PerSampleNoise, WalkNoise
from stoker.tasks.abilities import CanSample, can_sample, can_unfold

BATCH = 64
ROWS = 1024
"""Rows of a table that are made at once."""
STRIP = 8
"""Images that show how one comes out of noise."""


@dataclass(frozen=True)
class Sampling:
    """How images are made; what is None is as the job says."""

    steps: int | None = None
    """From noise to an image, of a diffusion."""
    guidance: float | None = None
    """Towards its class, of a diffusion."""
    walk: int = 0
    """Images on the way from each sample to the next one, itself included; 0: samples alone."""
    strip: bool = False
    """Whether each sample is STRIP images, from noise to itself."""

    @property
    def images(self) -> int:
        """Images of a sample."""
        return STRIP if self.strip else max(1, self.walk)


def sampler(model: Model) -> CanSample:
    """Return the network of a model that makes images or rows.

    Raises:
        JobError: it makes none.

    """
    if not can_sample(model.network):
        message = f"a model of {model.job.task} makes no samples; use stoker predict"
        raise JobError([Problem("", message)])
    return model.network


def generate(
    model: Model, count: int, seed: int, classes: tuple[str, ...] = (), sampling: Sampling | None = None
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield new images.

    Args:
        model: of image-generation.
        count: number of samples.
        seed: the same seed gives the same images.
        classes: of the samples, in turn; default: all classes of the data. On a walk all have the first one.
        sampling: how they are made; default: as the job says.

    Yields:
        The class, empty if the data has none, and (height, width, channels) uint8; `sampling.images` for each sample.

    Raises:
        JobError: the model cannot generate samples so, or has no such class.

    """
    sampling = sampling or Sampling()
    known = _known(model, classes)
    _set(model, sampling)
    every, walk = classes or known, sampling.walk
    wanted = [every[0 if walk else i % len(every)] if known else "" for i in range(count * (walk or 1))]
    image = model.fields.image
    made = _samples(model, wanted, seed, "generate", sampling)
    names = (name for name in wanted for _ in range(STRIP if sampling.strip else 1))
    pixels = (each for few in made for each in image.pixels(few).numpy())
    yield from zip(names, pixels, strict=True)


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
    made = torch.cat(list(_samples(model, wanted, seed, "rows", Sampling())))
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


def _set(model: Model, sampling: Sampling) -> None:
    """Let a network sample as it is asked to, from now on."""
    if sampling.steps is None and sampling.guidance is None and not sampling.strip:
        return
    network = model.network
    if not can_unfold(network):
        message = "only a diffusion makes images in steps; leave out --steps, --guidance and --strip"
        raise JobError([Problem("", message)])
    if sampling.guidance is not None and not model.fields.signature.classes:
        raise JobError([Problem("", "guidance needs classes, without which the model was trained; leave it out")])
    network.sampling_steps = sampling.steps or network.sampling_steps
    network.guidance = network.guidance if sampling.guidance is None else sampling.guidance


def _made(network: CanSample, classes: Tensor | None, noise: PerSampleNoise | WalkNoise, strip: bool) -> Tensor:
    """Return images of samples; in a strip STRIP for each, at even distances from noise to the sample."""
    if not (strip and can_unfold(network)):
        return network.sample(classes, noise)
    steps = network.unfold(classes, noise)
    shown = torch.linspace(0, len(steps) - 1, STRIP).round().long()
    return steps[shown].transpose(0, 1).flatten(0, 1)


def _samples(model: Model, wanted: list[str], seed: int, purpose: str, sampling: Sampling) -> Iterator[Tensor]:
    """Yield batches of what the network makes, for each of these classes a sample, or its strip."""
    network, known = sampler(model), model.fields.signature.classes
    size = BATCH if model.fields.signature.images else ROWS
    for begin in range(0, len(wanted), size):
        few = wanted[begin : begin + size]
        places = torch.tensor([known.index(name) for name in few]) if known else None
        key, numbers = (seed, purpose), range(begin, begin + len(few))
        noise = WalkNoise(key, numbers, sampling.walk) if sampling.walk else PerSampleNoise(key, numbers)
        with torch.inference_mode():
            made = _made(network, places, noise, sampling.strip).float()
        yield made
