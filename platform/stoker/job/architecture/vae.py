"""Settings of `vae`."""

from typing import Literal

from pydantic import Field

from stoker.job.architecture.layers import Activation, Width, Widths
from stoker.job.section import Section


class Vae(Section):
    """A variational autoencoder (Kingma and Welling 2014), conditional on the class where the data has classes.

    Its loss on held-out data is the negative evidence lower bound, in nats an image, whatever `beta` and `free_bits`.
    """

    family: Literal["vae"]
    """The network family."""

    channels: Widths | None = None
    """Channels of the encoder's stages, each of which halves the image; the decoder has the same the other way round.
    Default: from the size of the images."""

    latent: Width = 16
    """Numbers that an image is made of; with more of them images are drawn again more exactly, and new ones are made of
    numbers that no image had."""

    likelihood: Literal["gaussian", "bernoulli", "discretised-logistic"] = "gaussian"
    """How pixels vary around what is drawn: evenly; as black or white, above or below half of the brightness; or in 256
    levels (Salimans et al. 2017), for which nats tell how many bits an image takes without loss."""

    beta: float = Field(1.0, ge=0, le=1000)
    """Weight of the divergence while training (Higgins et al. 2017): more makes the numbers independent, and images
    blurred."""

    free_bits: float = Field(0.0, ge=0, le=10)
    """Nats of each number that cost nothing while training (Kingma et al. 2016), so that it is used at all."""

    activation: Activation = "silu"
    """What stands between the layers."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the decoder's maps that are switched off at random while training."""
