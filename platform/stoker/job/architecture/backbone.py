"""Settings of `backbone`, and of the backbones inside other families."""

from typing import Annotated, Literal

from pydantic import Field

from stoker.job.section import Section, Shorthand

WEIGHT_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")
"""Endings of files with weights; other names are ids of the library's own."""


class Backbone(Section):
    """A network for pictures of torchvision or timm, without its last layer."""

    name: str = Field(min_length=1)
    """The network, by its name in the library, such as `resnet18`, `convnext_tiny` or `vit_tiny_patch16_224`."""

    library: Literal["auto", "torchvision", "timm"] = "auto"
    """Where the network comes from; `auto` takes it from torchvision, or from timm where torchvision has no such
    network. timm needs stoker[backbones]."""

    weights: str = Field("none", min_length=1)
    """The weights at the start: `none` for random ones; a file of them (.pt, .pth or .safetensors) with the library's
    names; `default` for those that the library recommends, or the id of others, such as `IMAGENET1K_V1` or `a1_in1k`,
    which are downloaded once. With weights, pictures have three colours and are standardised as the weights need it,
    and batch normalisation keeps its statistics; without, group normalisation stands in its place."""

    frozen_stages: Annotated[int, Field(ge=0, le=100)] | Literal["all"] = 0
    """Number of first stages that are not trained: the stem and each part that halves the picture are one; `all` trains
    only what stands behind the backbone."""


BackboneChoice = Annotated[Backbone, Shorthand("name")]


class BackboneClassifier(Section):
    """A network of torchvision or timm with a new linear layer for the classes or tags."""

    family: Literal["backbone"]
    """The network family."""

    backbone: BackboneChoice
    """The network; a bare string is its name, such as `resnet18`."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the features that are switched off at random before the last layer while training."""

    mirrored: bool = False
    """Whether evaluation and the model answer by the mean of an image and of its mirror image, which takes twice as
    long; for photos, not for signs."""
