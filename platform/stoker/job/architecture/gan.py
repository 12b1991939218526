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

    loss: Literal["hinge", "non-saturating"] = "hinge"
    """What is minimised: hinge (Lim and Ye 2017), or the non-saturating logistic loss (Goodfellow et al. 2014)."""

    spectral_norm: bool = True
    """Keep the discriminator's layers from stretching more than once (Miyato et al. 2018)."""

    ema: float = Field(0.995, ge=0, lt=1)
    """Decay of the moving average of the generator's weights, which becomes the model."""
