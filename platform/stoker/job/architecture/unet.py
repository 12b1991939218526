"""Settings of `unet`."""

from typing import Literal

from pydantic import Field

from stoker.job.architecture.layers import Activation, Widths
from stoker.job.section import Section


class Unet(Section):
    """A U-Net (Ronneberger et al. 2015): it halves an image in stages and doubles it again, with shortcuts between."""

    family: Literal["unet"]
    """The network family."""

    channels: Widths | None = None
    """Channels of the stages, largest maps first; default: from the size of the images."""

    activation: Activation = "relu"
    """What stands between the layers."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the smallest maps that are switched off at random while training."""
