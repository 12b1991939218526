"""Settings of `captioner`."""

from typing import Literal

from pydantic import Field

from stoker.job.architecture.backbone import BackboneChoice
from stoker.job.architecture.layers import Beam, LengthPenalty, NoRepeat, Width, Widths
from stoker.job.section import Section


class Captioner(Section):
    """A network that says what is in an image (Xu et al. 2015): it reads the places of the image, and writes a text."""

    family: Literal["captioner"]
    """The network family."""

    encoder: Literal["cnn", "vit"] = "cnn"
    """What reads the image: the stages of a convolutional network, or a vision transformer."""

    channels: Widths | None = None
    """Channels of the stages of a cnn, each of which halves the image; default: from the size of the images, of which
    about 8x8 places are left."""

    patch: int | None = Field(None, ge=1, le=512)
    """Side of a patch of a vit in pixels. Default: an eighth of the shorter side, at most 16."""

    backbone: BackboneChoice | None = None
    """A network of torchvision or timm that reads the image in place of the encoder, such as `resnet18`."""

    encoder_layers: int | None = Field(None, ge=0, le=96)
    """Blocks in which the places of the image attend to each other. Default: `layers` in a vit, else 1."""

    width: Width = 128
    """Numbers that stand for a place and for a word in every layer; a multiple of `heads`, and of 4."""

    layers: int = Field(2, ge=1, le=96)
    """Blocks of what writes the text."""

    heads: int = Field(4, ge=1, le=256)
    """Attentions of a block side by side, each over its part of the width."""

    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of the outputs of each part of a block that are switched off at random while training."""

    word_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the written words that are left out at random while training, so that the image has to tell them."""

    beam: Beam = 4
    """Texts that are tried side by side, the likeliest of which is the answer; 1 takes the likeliest token each time,
    as metrics do while training."""

    length_penalty: LengthPenalty = 1.0
    """The power of its length that divides the log-probability of a text: with more than 1 longer texts are preferred,
    with 0 short ones."""

    no_repeat: NoRepeat = 0
    """Tokens in a row that must not occur twice in a text; 0 forbids nothing."""
