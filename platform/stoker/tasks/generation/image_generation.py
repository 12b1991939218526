"""New images like those of the data, of a class where the data has some."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from stoker.datasets.records import Records
from stoker.errors import JobError, Problem
from stoker.job.training import Training
from stoker.randomness import Noise
from stoker.tasks.abilities import can_sample
from stoker.tasks.generation.adversarial import Adversarial, Gan
from stoker.tasks.generation.denoising import Denoiser, Denoising
from stoker.tasks.generation.variational import Bounded, Variational
from stoker.tasks.metrics import Metrics, Together
from stoker.tasks.objective import BatchLike, NoiseLike, Objective
from stoker.tasks.sheet import IMAGES_A_ROW, Picture, Sheet
from stoker.tasks.task import Answers, Review, Task

POOLED = 8
"""Images are compared by their means over so many fields a side."""
SHOWN_CLASSES = 12

OBJECTIVES: tuple[tuple[type, Callable[[Any], Objective]], ...] = (
    (Gan, Adversarial),
    (Bounded, Variational),
    (Denoiser, Denoising),
)
"""Which objective trains a network, by what it can do."""


class ImageGeneration(Task):
    """Images from noise."""

    def objective(self, network: nn.Module, training: Training) -> Objective:
        """Choose the objective that trains such a network."""
        for ability, made in OBJECTIVES:
            if isinstance(network, ability):
                return made(network)
        raise JobError(
            [
                Problem(
                    "architecture",
                    "the network makes no images: it is neither an objective, nor a gan, a vae or a diffusion",
                )
            ]
        )

    def metrics(self, samples: int) -> Metrics:
        """Return none: all that is cheap to measure is the loss."""
        return Together()

    def expensive_metrics(self, samples: int) -> Metrics:
        """Return the Frechet distance between the images and those that the network makes."""
        return Frechet(self)

    def outcome(self, network: nn.Module, batch: BatchLike, noise: NoiseLike, output: Tensor, quick: bool) -> Tensor:
        """Return an image for each one of the batch, of the same class."""
        return network.sample(batch.target, noise) if can_sample(network) else output

    def review(self) -> Review | None:
        """Return nothing: there are no predictions to compare; the record shows generated images by class."""
        return None

    def show(self, network: nn.Module, few: BatchLike, seed: int) -> Sheet | None:
        """Return images made from the same noise each time, a row for each class."""
        if not can_sample(network):
            return None
        device = next(iter(few.inputs.values())).device
        classes = self.fields.signature.classes[:SHOWN_CLASSES]
        rows = max(len(classes), 1)
        count = rows * IMAGES_A_ROW
        places = torch.arange(rows, device=device).repeat_interleave(IMAGES_A_ROW) if classes else None
        made = network.sample(places, Noise((seed, "drawn"), count, 0, count, device))
        pixels = self.fields.image.pixels(made.float()).cpu().numpy()
        return Sheet("generated", tuple(Picture((image,)) for image in pixels), classes)

    def answers(self, outputs: Tensor, records: Records) -> Answers:
        """Refuse: there is no question."""
        raise JobError([Problem("", "image-generation has nothing to predict; use stoker generate")])


class Frechet(Metrics):
    """Frechet distance of two sets of images, each seen as a normal distribution (Heusel 2017).

    It is taken between the means of POOLED x POOLED fields of the images, not between features of a trained network: it
    tells whether brightness, shape and variety are right, not whether details are.
    """

    def __init__(self, task: Task) -> None:
        image = task.fields.signature.image
        self._width = image.channels * min(POOLED, image.height) * min(POOLED, image.width)
        self._side = (min(POOLED, image.height), min(POOLED, image.width))
        self._moments = [_Moments.empty(self._width), _Moments.empty(self._width)]

    def update(self, output: Tensor, batch: BatchLike) -> None:
        """Take in generated images (B, channels, height, width), and as many real ones."""
        (real,) = batch.inputs.values()
        for moments, images in zip(self._moments, (output, real), strict=True):
            pooled = nn.functional.adaptive_avg_pool2d(images.double(), self._side).flatten(1).cpu()
            moments.add(pooled)

    def state(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return count, sums and products of both sets."""
        return [(each.count, each.sums, each.products) for each in self._moments]

    def merge(self, state: list[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Add another worker's."""
        for mine, (count, sums, products) in zip(self._moments, state, strict=True):
            mine.count += count
            mine.sums += sums
            mine.products += products

    def compute(self) -> dict[str, float]:
        """Return the distance; NaN for fewer than two images."""
        made, real = self._moments
        if min(int(made.count), int(real.count)) < 2:
            return {"frechet": float("nan")}
        (mean, covariance), (other_mean, other_covariance) = made.normal(), real.normal()
        root = _square_root(covariance)
        cross = torch.linalg.eigvalsh(root @ other_covariance @ root).clamp(min=0).sqrt().sum()
        distance = (mean - other_mean).square().sum() + covariance.trace() + other_covariance.trace() - 2 * cross
        return {"frechet": float(distance)}


class _Moments:
    """Count, sum and sum of products of some rows."""

    def __init__(self, count: Tensor, sums: Tensor, products: Tensor) -> None:
        self.count, self.sums, self.products = count, sums, products

    @staticmethod
    def empty(width: int) -> "_Moments":
        double = torch.float64
        sums = torch.zeros(width, dtype=double)
        return _Moments(torch.zeros((), dtype=double), sums, torch.outer(sums, sums))

    def add(self, rows: Tensor) -> None:
        self.count += len(rows)
        self.sums += rows.sum(dim=0)
        self.products += rows.T @ rows

    def normal(self) -> tuple[Tensor, Tensor]:
        mean = self.sums / self.count
        return mean, self.products / self.count - torch.outer(mean, mean)


def _square_root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return root
