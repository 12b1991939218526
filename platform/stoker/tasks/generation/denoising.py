"""Denoising (Ho et al. 2020): a network learns to take noise out of samples, and makes new ones of noise alone."""

from collections.abc import Mapping
from typing import Protocol, cast, runtime_checkable

from torch import Tensor

from stoker.tasks.objective import BatchLike, Count, Loss, NoiseLike, OneNetwork, weighted_count, weighted_sum


@runtime_checkable
class Denoiser(Protocol):
    """A network that tells noise from sample."""

    def errors(self, inputs: Mapping[str, Tensor], classes: Tensor | None, noise: NoiseLike) -> tuple[Tensor, Tensor]:
        """Return (B,) mean squared errors of samples with noise of random levels, and (B,) weights while training."""

    def sample(self, classes: Tensor | None, noise: NoiseLike) -> Tensor:
        """Return one sample for each row of the noise."""


class Denoising(OneNetwork):
    """The mean squared error of what a network makes of noised samples; training weighs their levels of noise."""

    def counts(self, batch: BatchLike, turn: str) -> dict[str, Count]:
        """Count the samples, or their weights."""
        return {"loss": weighted_count(batch)}

    def forward(self, batch: BatchLike, turn: str, noise: NoiseLike) -> dict[str, Tensor]:
        """Return the one term `loss`."""
        errors, weights = self._network.errors(batch.inputs, batch.target, noise)
        return {"loss": weighted_sum(errors * weights, batch)}

    def evaluate(self, batch: BatchLike, noise: NoiseLike) -> tuple[dict[str, Loss], Tensor | None]:
        """Return the loss in which all levels weigh the same, and that of each sample; new ones are the outcome."""
        errors, _ = self._network.errors(batch.inputs, batch.target, noise)
        return {"loss": Loss(weighted_sum(errors, batch), self.counts(batch, "network")["loss"])}, errors

    @property
    def _network(self) -> Denoiser:
        return cast("Denoiser", self.network)
