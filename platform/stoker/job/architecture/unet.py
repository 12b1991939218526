"""Settings of `unet`."""

from typing import Literal

from pydantic import Field

from stoker.job.architecture.backbone import BackboneChoice
from stoker.job.architecture.layers import Activation, Widths
from stoker.job.section import Section


class Unet(Section):
    """A U-Net (Ronneberger et al. 2015): it halves an image in stages and doubles it again, with shortcuts between."""

    family: Literal["unet"]
    """The network family."""

    channels: Widths | None = None
    """Channels of the stages, largest maps first; default: from the size of the images. With a backbone they are those
    of the way back up: one for the whole image, and one for each size of the backbone's maps but the last."""

    blocks: Literal["plain", "residual"] = "plain"
    """What a stage is made of: two convolutions, or two with a shortcut around them (He et al. 2016)."""

    backbone: BackboneChoice | None = None
    """A network of torchvision or timm that halves the image, such as `resnet18`; default: the stages' own blocks."""

    activation: Activation = "relu"
    """What stands between the layers."""

    coordinates: bool = False
    """Add two channels to the image: how far right and how far down each pixel lies (Liu et al. 2018). For images in
    which a place says much of its class, such as a row of plants that a camera follows. Not with `dataset.image.tile`:
    a tile may come from anywhere."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the smallest maps that are switched off at random while training."""
