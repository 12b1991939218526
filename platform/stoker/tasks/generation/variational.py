"""Variational training (Kingma and Welling 2014): few nats for an image, given few that its latent numbers take."""

from collections.abc import Mapping
from typing import Protocol, cast, runtime_checkable

from torch import Tensor

from stoker.tasks.objective import BatchLike, Count, Loss, NoiseLike, OneNetwork, weighted_count, weighted_sum


@runtime_checkable
class Bounded(Protocol):
    """A network that knows a bound of how likely an image is."""

    beta: float
    """Weight of the divergence while training."""
    free_bits: float
    """Nats of each latent number that cost nothing while training."""

    def bounds(self, inputs: Mapping[str, Tensor], classes: Tensor | None, noise: NoiseLike) -> tuple[Tensor, Tensor]:
        """Return (B,) nats of the images given their latent numbers, and (B, latent) nats of these."""

    def sample(self, classes: Tensor | None, noise: NoiseLike) -> Tensor:
        """Return one standardised image for each row of the noise."""


@runtime_checkable
class KnowsMeans(Protocol):
    """A network that describes an image by latent numbers, each with a mean."""

    def means(self, inputs: Mapping[str, Tensor], classes: Tensor | None) -> Tensor:
        """Return (B, latent) means of the latent numbers of images of some classes."""


class Variational(OneNetwork):
    """The negative evidence lower bound of the images; while training with the weights that the network asks for."""

    def counts(self, batch: BatchLike, turn: str) -> dict[str, Count]:
        """Count the images, or their weights."""
        count = weighted_count(batch)
        return {"reconstruction": count, "divergence": count}

    def forward(self, batch: BatchLike, turn: str, noise: NoiseLike) -> dict[str, Tensor]:
        """Return both terms."""
        network = self._network
        drawn, taken = network.bounds(batch.inputs, batch.target, noise)
        paid = network.beta * taken.clamp(min=network.free_bits).sum(dim=1)
        return {"reconstruction": weighted_sum(drawn, batch), "divergence": weighted_sum(paid, batch)}

    def evaluate(self, batch: BatchLike, noise: NoiseLike) -> tuple[dict[str, Loss], Tensor | None]:
        """Return both terms without the weights of training, so that they are a bound, and the images."""
        drawn, taken = self._network.bounds(batch.inputs, batch.target, noise)
        sums = {"reconstruction": weighted_sum(drawn, batch), "divergence": weighted_sum(taken.sum(dim=1), batch)}
        counts = self.counts(batch, "network")
        (images,) = batch.inputs.values()
        return {term: Loss(total, counts[term]) for term, total in sums.items()}, images

    @property
    def _network(self) -> Bounded:
        return cast("Bounded", self.network)
