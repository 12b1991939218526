"""Settings of `detector`."""

from typing import Annotated, Literal

from pydantic import Field

from stoker.job.architecture.backbone import BackboneChoice
from stoker.job.architecture.layers import Activation, Width
from stoker.job.section import Section


class Limited(Section):
    """Which of the proposed boxes a model answers with."""

    family: str
    """The network family."""

    score: float = Field(0.5, ge=0, lt=1)
    """Lowest score of a box that the model answers with; 0.5 is where F1 on the validation part is best, a lower one
    finds more, also wrong ones. Metrics count all boxes, as COCO does."""

    overlap: float = Field(0.6, gt=0, le=1)
    """Of two boxes of a class that share more than this part of their joint area, only the one with the higher score is
    kept."""

    most: int = Field(100, ge=1, le=1000)
    """Most boxes of an image, those with the highest scores."""


class Detector(Limited):
    """A detector in one pass (Tian et al. 2019; Feng et al. 2021): each cell of three maps proposes a box.

    Residual stages make maps of the image, a feature pyramid (Lin et al. 2017) mixes fine and coarse ones, and two
    towers of convolutions read class and box off each cell.
    """

    family: Literal["detector"]
    """The network family."""

    channels: Annotated[tuple[Width, ...], Field(strict=False, min_length=2, max_length=7)] = (32, 64, 128, 256)
    """Channels of the stages, first to last; the maps of the first one have a quarter of the image's side, and each
    further stage halves them. The last three make the pyramid: more stages find larger objects."""

    backbone: BackboneChoice | None = None
    """A network of torchvision or timm that makes the maps in place of the stages, such as `resnet18`."""

    width: int = Field(64, ge=8, le=1024)
    """Channels of the pyramid and of the towers."""

    depth: int = Field(2, ge=1, le=8)
    """Convolutions of each tower."""

    activation: Activation = "silu"
    """What stands between the layers."""
