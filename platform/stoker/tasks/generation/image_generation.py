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
from stoker.tasks.generation.feature_metrics import FeatureMetrics
from stoker.tasks.generation.pixel_metrics import ActiveUnits, Frechet
from stoker.tasks.generation.variational import Bounded, KnowsMeans, Variational
from stoker.tasks.metrics import Metrics, Together
from stoker.tasks.objective import BatchLike, NoiseLike, Objective
from stoker.tasks.sheet import IMAGES_A_ROW, Picture, Sheet
from stoker.tasks.task import Answers, Review, Task

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
        """Return how far the images that the network makes are from the real ones; by features, if there are any."""
        by_features = [FeatureMetrics(self.features)] if self.features else []
        return Together(Frechet(self.fields.signature.image), ActiveUnits(), *by_features)

    def outcome(self, network: nn.Module, batch: BatchLike, noise: NoiseLike, output: Tensor, quick: bool) -> Tensor:
        """Return an image for each one of the batch, of the same class.

        Where the network knows latent numbers, (B, pixels + latent) with the means of those of the real images.
        """
        made = network.sample(batch.target, noise) if can_sample(network) else output
        if not isinstance(network, KnowsMeans):
            return made
        means = network.means(batch.inputs, batch.target)
        return torch.cat([made.float().flatten(1), means.float().flatten(1)], dim=1)

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
