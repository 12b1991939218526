"""Settings of `gan`."""

from typing import Literal

from pydantic import Field

from stoker.job.architecture.layers import Width, Widths
from stoker.job.section import Section


class Gan(Section):
    """A deep convolutional GAN (Radford et al. 2016), conditional on the class where the data has classes."""

    family: Literal["gan"]
    """The network family."""

    channels: Widths | None = None
    """Channels of the discriminator's stages, largest maps first; the generator has the same the other way round.
    Default: from the size of the images."""

    latent: Width = 64
    """Numbers of noise that an image is made of."""

    blocks: Literal["plain", "residual"] = "plain"
    """What a stage is made of: one convolution, or two with a shortcut around them (Miyato et al. 2018)."""

    loss: Literal["hinge", "non-saturating", "wgan-gp"] = "hinge"
    """What is minimised: hinge (Lim and Ye 2017), the non-saturating logistic loss (Goodfellow et al. 2014), or the
    Wasserstein distance with a penalty on the slopes of the critic (Gulrajani et al. 2017)."""

    gradient_penalty: float = Field(10.0, gt=0, le=1000)
    """Weight of the penalty of `wgan-gp` on slopes other than 1, between real and made images."""

    r1: float = Field(0.0, ge=0, le=1000)
    """Weight of a penalty on the slopes of the discriminator at real images, for the other losses, such as `1.0`: half
    of their squares (Mescheder et al. 2018)."""

    r1_every: int = Field(1, ge=1, le=1000)
    """Steps from one penalty of `r1` to the next, which weighs as many times more: 16 takes little time."""

    critic_steps: int | None = Field(None, ge=1, le=100)
    """Turns of the discriminator in a step, such as `5`, each with new noise, before one of the generator; default: 5
    with `wgan-gp`, else 1."""

    spectral_norm: bool | None = None
    """Keep the discriminator's layers from stretching more than once (Miyato et al. 2018); default: yes, but not with
    `wgan-gp`, whose penalty does it."""

    augment: Literal["none", "differentiable"] = "none"
    """What the discriminator sees of images, real or made: these, or all of them shifted, with a part cut out and, of
    coloured ones, in other light (DiffAugment, Zhao et al. 2020); for a few thousand images or fewer."""

    ema: float = Field(0.995, ge=0, lt=1)
    """Decay of the moving average of the generator's weights, which becomes the model."""
