"""The network families and their settings, one class each; the family's name is its module in `architectures/`."""

from typing import Annotated, Literal

from pydantic import Field

from stoker.spec.section import Section, Shorthand

Activation = Literal["relu", "gelu", "silu", "tanh", "sigmoid"]
Width = Annotated[int, Field(ge=1, le=65536)]


class Perceptron(Section):
    """A single linear layer (Rosenblatt 1958): it separates only what a plane separates."""

    family: Literal["perceptron"]
    """The network family."""


class Mlp(Section):
    """A multi-layer perceptron: linear layers with an activation between them."""

    family: Literal["mlp"]
    """The network family."""

    hidden: Annotated[tuple[Width, ...], Field(strict=False, min_length=1)] | None = None
    """Widths of the hidden layers, first to last; default: from the number of inputs and samples."""

    activation: Activation = "relu"
    """What stands between the layers."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the hidden units that are switched off at random while training."""


class Cnn(Section):
    """A convolutional network: one stage for each entry of `channels`, each halving it, then the mean."""

    family: Literal["cnn"]
    """The network family."""

    channels: Annotated[tuple[Width, ...], Field(strict=False, min_length=1)] | None = None
    """Channels of the stages, first to last; default: from the size of the pictures."""

    blocks: Literal["plain", "residual"] = "plain"
    """What a stage is made of: one convolution, or two with a shortcut around them (He et al. 2016)."""

    kernel: int = Field(3, ge=1, le=31)
    """Width and height of the convolutions in pixels; an odd number."""

    activation: Activation = "relu"
    """What stands between the layers."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the last features that are switched off at random while training."""


Architecture = Annotated[Perceptron | Mlp | Cnn, Field(discriminator="family")]
ArchitectureChoice = Annotated[Architecture, Shorthand("family")]
FAMILIES: dict[str, type[Section]] = {"perceptron": Perceptron, "mlp": Mlp, "cnn": Cnn}
