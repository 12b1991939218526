"""Settings of `diffusion`."""

from typing import Annotated, Literal

from pydantic import Field

from stoker.job.architecture.autoencoder import Autoencoder
from stoker.job.architecture.layers import Widths
from stoker.job.architecture.vae import Vae
from stoker.job.section import Section

Sampler = Literal["dpm-solver++", "ddim", "ddpm"]


class Diffusion(Section):
    """A network that takes noise out of images, step by step (Ho et al. 2020), of a class where the data has classes.

    Its weights are averaged over the steps unless `training.ema` says otherwise.
    """

    family: Literal["diffusion"]
    """The network family."""

    channels: Widths | None = None
    """Channels of the stages of the U-Net, largest maps first, each but the first one with maps of half the size; of
    `latent` diffusion, widths of the hidden layers. Default: from the size of the images."""

    blocks: int = Field(2, ge=1, le=8)
    """Residual blocks of each stage."""

    attention: int = Field(16, ge=0, le=64)
    """Maps of at most so many pixels a side have attention between their pixels; 0: none has."""

    patch: int = Field(1, ge=1, le=16)
    """Pixels a side that become one pixel of the first maps, with as many times the channels: 2 takes a quarter of the
    time, for less detail."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the maps that is switched off at random while training."""

    predicts: Literal["v", "noise", "x0", "flow"] = "v"
    """What the network is asked for: the noise (Ho et al. 2020), the image (x0), a mixture of both that suits all
    levels of noise (v, Salimans and Ho 2022); or, on straight lines from image to noise, their direction (flow, Lipman
    et al. 2023)."""

    noise: Literal["cosine", "linear"] = "cosine"
    """How fast images drown in noise (cosine: Nichol and Dhariwal 2021); `flow` has its own way."""

    steps: int = Field(1000, ge=10, le=10_000)
    """Levels of noise, of which each image is given one at random."""

    min_snr: float | None = Field(None, gt=0, le=1000)
    """Weigh each level while training by its signal-to-noise ratio, at most so much (Hang et al. 2023), such as `5`.
    Default: what is asked for weighs the same on each level."""

    sampler: Sampler | None = None
    """How images are made: `dpm-solver++` (Lu et al. 2022) in few steps, `ddim` (Song et al. 2021), or with new noise
    in each step `ddpm`. Default: dpm-solver++; for flow, Euler's method."""

    sampling_steps: int = Field(25, ge=1, le=10_000)
    """Steps from noise to an image."""

    guidance: float = Field(1.0, ge=0, le=100)
    """How much more of the class an image has (classifier-free guidance, Ho and Salimans 2022): above 1, images are
    more typical of their class and vary less; each step takes twice as long."""

    class_dropout: float = Field(0.1, ge=0, le=1)
    """Share of the images whose class is kept from the network while training, so that it can guide."""

    latent: bool = False
    """Make codes in place of images, which an autoencoder or vae then draws (Rombach et al. 2022): the one of the
    earlier run that `training.start_from` names. It is not trained any more."""

    autoencoder: Annotated[Autoencoder | Vae, Field(discriminator="family")] | None = None
    """Filled in: the network whose codes are made."""
