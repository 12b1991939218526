"""Adversarial training (Goodfellow et al. 2014): a generator makes samples, a discriminator tells them from real."""

import copy
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.tasks.objective import BatchLike, Count, Loss, NoiseLike, Objective


@runtime_checkable
class Gan(Protocol):
    """A generator with its discriminator."""

    generator: nn.Module
    """`(noise (B, latent), classes (B,) or None) -> images`."""
    discriminator: nn.Module
    """`(images, classes (B,) or None) -> (B,) scores`, high for real ones."""
    latent: int
    """Numbers of noise that an image is made of."""
    loss: str
    """`hinge` or `non-saturating`."""
    ema: float
    """Decay of the moving average of the generator's weights."""

    def advance(self) -> None:
        """Follow the discriminator's weights with what its normalisation knows of them."""


class Generator(nn.Module):
    """The moving average of a generator: what remains of the game, and makes the samples."""

    def __init__(self, generator: nn.Module, latent: int) -> None:
        super().__init__()
        self.generator = generator
        self.latent = latent

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return images from `noise` (B, latent) and, where there are classes, `classes` (B,)."""
        images: Tensor = self.generator(inputs["noise"], inputs.get("classes"))
        return images

    def sample(self, classes: Tensor | None, noise: NoiseLike) -> Tensor:
        """Return one standardised image for each row of the noise."""
        images: Tensor = self.generator(noise.normal(self.latent), classes)
        return images


class Adversarial(Objective):
    """A turn of the discriminator, then one of the generator; the generator's moving average becomes the model."""

    def __init__(self, gan: Gan) -> None:
        super().__init__()
        self.generator = gan.generator
        self.discriminator = gan.discriminator
        self._advance = gan.advance
        self.latent, self.loss, self.ema = gan.latent, gan.loss, gan.ema
        self.average = Generator(copy.deepcopy(gan.generator).requires_grad_(False), gan.latent)

    @property
    def network(self) -> "Generator":  # type: ignore[override]  # the contract has an attribute, which this one reads
        """The averaged generator."""
        return self.average

    def turns(self, step: int) -> Sequence[str]:
        """Step both, the discriminator first."""
        return ("discriminator", "generator")

    def groups(self) -> dict[str, nn.Module]:
        """Return both."""
        return {"generator": self.generator, "discriminator": self.discriminator}

    def counts(self, batch: BatchLike, turn: str) -> dict[str, Count]:
        """Count the samples."""
        return {turn: float(len(batch))}

    def forward(self, batch: BatchLike, turn: str, noise: NoiseLike) -> dict[str, Tensor]:
        """Return the loss of whose turn it is."""
        (real,), classes = batch.inputs.values(), batch.target
        latent = noise.normal(self.latent)
        if turn == "generator":
            return {turn: self._generator_losses(self.generator(latent, classes), classes).sum()}
        with torch.no_grad():
            made = self.generator(latent, classes)
        return {turn: self._discriminator_losses(real, made, classes).sum()}

    def evaluate(self, batch: BatchLike, noise: NoiseLike) -> tuple[dict[str, Loss], Tensor | None]:
        """Return both losses with the averaged generator, and the images it made."""
        (real,), classes, count = batch.inputs.values(), batch.target, float(len(batch))
        made = self.network.sample(classes, noise)
        losses = {
            "discriminator": self._discriminator_losses(real, made, classes),
            "generator": self._generator_losses(made, classes),
        }
        return {term: Loss(each.sum(), count) for term, each in losses.items()}, made

    @torch.no_grad()
    def after_step(self) -> None:
        """Move the average, and the discriminator's estimate of its largest singular values."""
        self._advance()
        for slow, fast in zip(self.network.parameters(), self.generator.parameters(), strict=True):
            slow.lerp_(fast, 1 - self.ema)

    def _discriminator_losses(self, real: Tensor, made: Tensor, classes: Tensor | None) -> Tensor:
        true, false = self.discriminator(real, classes).float(), self.discriminator(made, classes).float()
        if self.loss == "hinge":
            return functional.relu(1 - true) + functional.relu(1 + false)
        return functional.softplus(-true) + functional.softplus(false)

    def _generator_losses(self, made: Tensor, classes: Tensor | None) -> Tensor:
        score = self.discriminator(made, classes).float()
        return -score if self.loss == "hinge" else functional.softplus(-score)
