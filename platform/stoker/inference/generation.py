"""Samples from a generative model."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stoker.errors import JobError, Problem
from stoker.inference.model import Model
from stoker.randomness import PerSampleNoise, WalkNoise
from stoker.tasks.abilities import CanSample, can_sample, can_unfold

BATCH = 64
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
    """Return the network of a model that makes images.

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
    network = sampler(model)
    known = model.fields.signature.classes
    if unknown := [name for name in classes if name not in known]:
        there = f"it knows {', '.join(known)}" if known else "it was trained without classes"
        raise JobError([Problem("", f"the model has no class {', '.join(unknown)}; {there}")])
    _set(model, sampling)
    every = classes or known
    total, walk = count * (sampling.walk or 1), sampling.walk
    wanted = [every[0 if walk else i % len(every)] if known else "" for i in range(total)]
    places = torch.tensor([known.index(name) for name in wanted]) if known else None
    image = model.fields.image
    for begin in range(0, total, BATCH):
        end = min(begin + BATCH, total)
        key, numbers = (seed, "generate"), range(begin, end)
        noise = WalkNoise(key, numbers, walk) if walk else PerSampleNoise(key, numbers)
        with torch.inference_mode():
            made = _made(network, None if places is None else places[begin:end], noise, sampling.strip)
        names = [name for name in wanted[begin:end] for _ in range(len(made) // (end - begin))]
        yield from zip(names, image.pixels(made.float()).numpy(), strict=True)


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
