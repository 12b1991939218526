"""Learning to take noise out of images (Ho et al. 2020)."""

from collections.abc import Mapping
from typing import Protocol, cast, runtime_checkable

from torch import Tensor

from stoker.tasks.objective import BatchLike, Count, Loss, NoiseLike, OneNetwork, weighted_count, weighted_sum


@runtime_checkable
class Denoiser(Protocol):
    """A network that tells noise from image."""

    def errors(self, inputs: Mapping[str, Tensor], classes: Tensor | None, noise: NoiseLike) -> tuple[Tensor, Tensor]:
        """Return (B,) mean squared errors of images on a level of noise each, and their (B,) weights while training."""


class Denoising(OneNetwork):
    """The mean squared error of what a network makes of noised images, weighted by their level of noise in training."""

    def counts(self, batch: BatchLike, turn: str) -> dict[str, Count]:
        """Count the images, or their weights."""
        return {"loss": weighted_count(batch)}

    def forward(self, batch: BatchLike, turn: str, noise: NoiseLike) -> dict[str, Tensor]:
        """Return the one term `loss`."""
        errors, weights = self._network.errors(batch.inputs, batch.target, noise)
        return {"loss": weighted_sum(errors * weights, batch)}

    def evaluate(self, batch: BatchLike, noise: NoiseLike) -> tuple[dict[str, Loss], Tensor | None]:
        """Return the loss in which all levels weigh the same, and the images."""
        errors, _ = self._network.errors(batch.inputs, batch.target, noise)
        (images,) = batch.inputs.values()
        return {"loss": Loss(weighted_sum(errors, batch), self.counts(batch, "network")["loss"])}, images

    @property
    def _network(self) -> Denoiser:
        return cast("Denoiser", self.network)
