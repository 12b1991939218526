"""Settings of `feature-distance`."""

from typing import Annotated, Literal

from pydantic import Field

from stoker.job.architecture.backbone import BackboneChoice
from stoker.job.architecture.layers import Activation, Widths
from stoker.job.section import Section


class FeatureDistance(Section):
    """How far the features of an image are from those of normal ones (Cohen and Avitzour 2018, Roth et al. 2022).

    The features are those of a convolutional network, which learns to tell the normal classes apart, or how an image is
    turned where there is one class only; or they are left as they are.
    """

    family: Literal["feature-distance"]
    """The network family."""

    channels: Widths | None = None
    """Channels of the stages of the convolutional network, as of `cnn`; default: from the size of the images."""

    blocks: Literal["plain", "residual"] = "plain"
    """What a stage is made of: one convolution, or two with a shortcut around them."""

    kernel: int = Field(3, ge=1, le=31)
    """Width and height of the convolutions in pixels; an odd number."""

    activation: Activation = "relu"
    """What stands between the layers."""

    backbone: BackboneChoice | None = None
    """A network of torchvision or timm that makes the features in place of the stages, such as `resnet18`. With weights
    and `frozen` nothing is trained: PatchCore with `level: patches` and `neighbours`, PaDiM with `gaussian`."""

    turns: bool | None = None
    """Whether the features learn to tell by how many quarters of a turn an image is rotated (Golan and El-Yaniv 2018),
    beside its class; default: if there is only one normal class."""

    frozen: bool = False
    """Leave the features as they are: those of a backbone, of a `cnn` of the same channels and blocks that
    `training.start_from` names, or random ones."""

    distance: Literal["neighbours", "gaussian"] = "neighbours"
    """Distance to the nearest normal images (PatchCore), or to all of them as a normal distribution (PaDiM)."""

    neighbours: Annotated[int, Field(ge=1, le=1000)] = 5
    """How many of the nearest normal ones the distance is a mean to."""

    bank: Annotated[int, Field(ge=1, le=100_000)] = 4000
    """Most normal features that are kept to find the nearest among: those that stand for the others best, each far from
    all that are kept before it (a coreset)."""

    level: Literal["image", "patches"] = "image"
    """What is compared: an image as a whole, which shows objects of another kind, or each patch with patches of normal
    images, of which the oddest counts, which shows defects."""
