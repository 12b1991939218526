"""Settings of `cnn`."""

from typing import Literal

from pydantic import Field

from stoker.job.architecture.layers import Activation, Widths
from stoker.job.section import Section


class Cnn(Section):
    """A convolutional network: one stage for each entry of `channels`, each halving it, then the mean."""

    family: Literal["cnn"]
    """The network family."""

    channels: Widths | None = None
    """Channels of the stages, first to last; default: from the size of the images."""

    blocks: Literal["plain", "residual"] = "plain"
    """What a stage is made of: one convolution, or two with a shortcut around them (He et al. 2016)."""

    kernel: int = Field(3, ge=1, le=31)
    """Width and height of the convolutions in pixels; an odd number."""

    activation: Activation = "relu"
    """What stands between the layers."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the last features that are switched off at random while training."""

    mirrored: bool = False
    """Whether evaluation and the model answer by the mean of an image and of its mirror image, which takes twice as
    long; for photos, not for signs."""
