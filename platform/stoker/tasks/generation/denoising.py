"""Denoising (Ho et al. 2020): a network learns to remove noise, and makes samples of noise alone."""

from collections.abc import Mapping
from typing import Protocol, cast, runtime_checkable

from torch import Tensor

from stoker.tasks.objective import BatchLike, Count, Loss, NoiseLike, OneNetwork


@runtime_checkable
class Diffusion(Protocol):
    """A network that removes noise."""

    def denoising_losses(self, inputs: Mapping[str, Tensor], classes: Tensor | None, noise: NoiseLike) -> Tensor:
        """Return (B,) losses of samples with noise of random levels."""

    def sample(self, classes: Tensor | None, noise: NoiseLike) -> Tensor:
        """Return one sample for each row of the noise."""


class Denoising(OneNetwork):
    """What remains of the noise that was added to the samples."""

    def counts(self, batch: BatchLike, turn: str) -> dict[str, Count]:
        """Count the samples, or their weights."""
        return {"loss": float(len(batch)) if batch.weight is None else batch.weight.sum()}

    def forward(self, batch: BatchLike, turn: str, noise: NoiseLike) -> dict[str, Tensor]:
        """Return the sum of the losses."""
        return {"loss": self._weighted(self._losses(batch, noise), batch)}

    def evaluate(self, batch: BatchLike, noise: NoiseLike) -> tuple[dict[str, Loss], Tensor | None]:
        """Return the loss, and that of each sample; new samples take longer, and are the task's outcome."""
        losses = self._losses(batch, noise)
        return {"loss": Loss(self._weighted(losses, batch), self.counts(batch, "network")["loss"])}, losses

    def _losses(self, batch: BatchLike, noise: NoiseLike) -> Tensor:
        return cast("Diffusion", self.network).denoising_losses(batch.inputs, batch.target, noise).float()

    def _weighted(self, losses: Tensor, batch: BatchLike) -> Tensor:
        return (losses if batch.weight is None else losses * batch.weight).sum()
