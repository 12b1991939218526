"""Settings of `vit`."""

from typing import Literal

from pydantic import Field

from stoker.job.architecture.layers import Width
from stoker.job.section import Section


class Vit(Section):
    """A vision transformer (Dosovitskiy et al. 2021): square patches of an image attend to each other."""

    family: Literal["vit"]
    """The network family."""

    patch: int | None = Field(None, ge=1, le=512)
    """Side of a patch in pixels; an image that it does not divide is extended at the right and the bottom. Default: an
    eighth of the shorter side, at most 16."""

    width: Width = 96
    """Numbers that stand for a patch in every layer; a multiple of `heads`, and of 4 with sincos positions."""

    layers: int = Field(6, ge=1, le=96)
    """Blocks of attention and feed-forward layer, one above the other."""

    heads: int = Field(4, ge=1, le=256)
    """Attentions of a block side by side, each over its part of the width."""

    feedforward: Width | None = None
    """Width inside the feed-forward layers; four times `width` if not set."""

    positions: Literal["sincos", "learned"] = "sincos"
    """How the place of a patch is told: by sines and cosines of row and column, which are not trained (Beyer et al.
    2022), or by an embedding of each place."""

    pool: Literal["mean", "token"] = "mean"
    """What the class is read from: the mean of all patches, or a token beside them."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the outputs of each part of a block that are switched off at random while training."""

    stochastic_depth: float = Field(0.0, ge=0, lt=1)
    """Share of the images that pass the last block by while training (Huang et al. 2016); less in those before it, none
    in the first. Deep networks and small datasets need 0.1 to 0.3."""

    mirrored: bool = False
    """Whether evaluation and the model answer by the mean of an image and of its mirror image, which takes twice as
    long; for photos, not for signs."""
