"""Metrics of new images that need nothing but the images, and the latent numbers of real ones."""

import math

from torch import Tensor, nn

from stoker.job.signature import ImageInput
from stoker.tasks.generation.moments import Moments, frechet_distance
from stoker.tasks.metrics import Metrics
from stoker.tasks.objective import BatchLike

POOLED = 8
"""Images are compared by their means over so many fields a side."""
ACTIVE = 0.01
"""Variance of the mean of a latent number over the samples from which it counts as active (Burda et al. 2016)."""


class Frechet(Metrics):
    """Frechet distance of two sets of images, each seen as a normal distribution (Heusel 2017).

    It is taken between the means of POOLED x POOLED fields of the images, not between features of a trained network: it
    tells whether brightness, shape and variety are right, not whether details are.
    """

    def __init__(self, image: ImageInput) -> None:
        self._side = (min(POOLED, image.height), min(POOLED, image.width))
        width = image.channels * math.prod(self._side)
        self._moments = [Moments(width), Moments(width)]

    def update(self, output: Tensor, batch: BatchLike) -> None:
        """Take in generated images, as `made_images` reads them, and as many real ones."""
        (real,) = batch.inputs.values()
        for moments, images in zip(self._moments, (made_images(output, batch), real), strict=True):
            moments.add(nn.functional.adaptive_avg_pool2d(images.double(), self._side).flatten(1))

    def state(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return count, sums and products of both sets."""
        return [each.state() for each in self._moments]

    def merge(self, state: list[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Add another worker's."""
        for mine, theirs in zip(self._moments, state, strict=True):
            mine.merge(theirs)

    def compute(self) -> dict[str, float]:
        """Return the distance; NaN for fewer than two images."""
        made, real = self._moments
        return {"frechet": frechet_distance(made, real)}


class ActiveUnits(Metrics):
    """The number of latent numbers whose means differ between samples; nothing where the network has none."""

    def __init__(self) -> None:
        self._moments: Moments | None = None

    def update(self, output: Tensor, batch: BatchLike) -> None:
        """Take in the means that stand behind the generated images."""
        (real,) = batch.inputs.values()
        means = output.flatten(1)[:, math.prod(real.shape[1:]) :]
        if means.shape[1]:
            self._moments = self._moments or Moments(means.shape[1])
            self._moments.add(means)

    def state(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return count, sums and products of the means; None without any."""
        return self._moments.state() if self._moments else None

    def merge(self, state: tuple[Tensor, Tensor, Tensor] | None) -> None:
        """Add another worker's."""
        if state is not None:
            self._moments = self._moments or Moments(len(state[1]))
            self._moments.merge(state)

    def compute(self) -> dict[str, float]:
        """Return the number, if there are latent numbers."""
        if self._moments is None:
            return {}
        variances = self._moments.normal()[1].diagonal()
        return {"active_units": float((variances > ACTIVE).sum())}


def made_images(output: Tensor, batch: BatchLike) -> Tensor:
    """Return generated images in the shape of the real ones: the first numbers of each row of an outcome."""
    (real,) = batch.inputs.values()
    return output.flatten(1)[:, : math.prod(real.shape[1:])].reshape(real.shape)
