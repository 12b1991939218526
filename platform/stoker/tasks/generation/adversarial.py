"""Adversarial training (Goodfellow et al. 2014): a generator makes samples, a discriminator tells them from real."""

import copy
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.tasks.generation.differentiable_augmentation import augmented
from stoker.tasks.objective import BatchLike, Count, Loss, NoiseLike, Objective

TINY = 1e-12
"""Added to squares, of whose root the slope at 0 would be infinite."""


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
    """`hinge`, `non-saturating` or `wgan-gp`."""
    penalty: float
    """Weight of the penalty on the discriminator's slopes: with `wgan-gp` of those between real and made images, else
    (R1) of those at real ones."""
    penalty_every: int
    """Steps from one penalty to the next, which weighs as many times more."""
    critic_steps: int
    """Turns of the discriminator before one of the generator."""
    augment: bool
    """Whether the discriminator sees all images changed, alike and differentiably."""
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
        self.penalty, self.penalty_every = gan.penalty, gan.penalty_every
        self.critic_steps, self.augment = gan.critic_steps, gan.augment
        self._penalises = False
        self._latents: dict[int, Tensor] = {}
        self._made: tuple[BatchLike, Tensor] | None = None
        self.average = Generator(copy.deepcopy(gan.generator).requires_grad_(False), gan.latent)

    @property
    def network(self) -> "Generator":  # type: ignore[override]  # the contract has an attribute, which this one reads
        """The averaged generator."""
        return self.average

    def turns(self, step: int) -> Sequence[str]:
        """Step both, the discriminator first and as often as it wants."""
        self._penalises = self.penalty > 0 and step % self.penalty_every == 0
        return (*["discriminator"] * self.critic_steps, "generator")

    def groups(self) -> dict[str, nn.Module]:
        """Return both."""
        return {"generator": self.generator, "discriminator": self.discriminator}

    def counts(self, batch: BatchLike, turn: str) -> dict[str, Count]:
        """Count the samples."""
        terms = (turn, "penalty") if turn == "discriminator" and self._penalises else (turn,)
        return dict.fromkeys(terms, float(len(batch)))

    def forward(self, batch: BatchLike, turn: str, noise: NoiseLike) -> dict[str, Tensor]:
        """Return the loss of whose turn it is, and the penalty.

        The generator learns from the images that the discriminator has just learnt from.
        """
        (real,), classes = batch.inputs.values(), batch.target
        made = self._sample(batch, turn, noise)
        if turn == "generator":
            return {turn: self._generator_losses(self._changed(made, noise)[0], classes).sum()}
        made, real = self._changed(made.detach(), noise, real)
        losses = {turn: self._discriminator_losses(real, made, classes).sum()}
        if self._penalises:
            losses["penalty"] = self.penalty_every * self._penalties(real, made, classes, noise).sum()
        return losses

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
        for _ in range(self.critic_steps):
            self._advance()
        slow: list[Tensor] = list(self.network.parameters())
        fast: list[Tensor] = list(self.generator.parameters())
        torch._foreach_lerp_(slow, fast, 1 - self.ema)

    def _sample(self, batch: BatchLike, turn: str, noise: NoiseLike) -> Tensor:
        """Return made images, in the generator's turn the last ones again.

        Of all micro-batches the latent numbers are kept, but of the last one alone the graph, which takes memory.
        """
        place, kept, self._made = batch.rows.start, self._made, None
        if turn == "generator" and place in self._latents:
            latent = self._latents.pop(place)
            if kept is not None and kept[0] is batch:
                return kept[1]
        else:
            latent = noise.normal(self.latent)
        made: Tensor = self.generator(latent, batch.target)
        if turn == "discriminator":
            self._latents[place], self._made = latent, (batch, made)
        return made

    def _changed(self, made: Tensor, noise: NoiseLike, *real: Tensor) -> tuple[Tensor, ...]:
        """Return images as the discriminator sees them."""
        return augmented((made, *real), noise) if self.augment else (made, *real)

    def _discriminator_losses(self, real: Tensor, made: Tensor, classes: Tensor | None) -> Tensor:
        twice = None if classes is None else torch.cat([classes, classes])
        scores: Tensor = self.discriminator(torch.cat([real, made]), twice)
        true, false = scores.float().chunk(2)
        if self.loss == "wgan-gp":
            return false - true
        if self.loss == "hinge":
            return functional.relu(1 - true) + functional.relu(1 + false)
        return functional.softplus(-true) + functional.softplus(false)

    def _penalties(self, real: Tensor, made: Tensor, classes: Tensor | None, noise: NoiseLike) -> Tensor:
        """Return (B,) penalties: of slopes other than 1 between the images, or of squared slopes at real ones."""
        between = self.loss == "wgan-gp"
        images = (made.lerp(real, noise.uniform(1, 1, 1)) if between else real).detach().requires_grad_()
        score = self.discriminator(images, classes).float().sum()
        (slopes,) = torch.autograd.grad(score, images, create_graph=True)
        squares = slopes.float().square().sum(dim=(1, 2, 3))
        if between:
            return self.penalty * ((squares + TINY).sqrt() - 1).square()
        return self.penalty / 2 * squares

    def _generator_losses(self, made: Tensor, classes: Tensor | None) -> Tensor:
        score = self.discriminator(made, classes).float()
        return functional.softplus(-score) if self.loss == "non-saturating" else -score
