"""Settings of `mlp`."""

from typing import Literal

from pydantic import Field

from stoker.job.architecture.layers import Activation, Widths
from stoker.job.section import Section


class Mlp(Section):
    """A multi-layer perceptron: linear layers with an activation between them."""

    family: Literal["mlp"]
    """The network family."""

    hidden: Widths | None = None
    """Widths of the hidden layers, first to last; default: from the number of inputs and samples."""

    activation: Activation = "relu"
    """What stands between the layers."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the hidden units that are switched off at random while training."""
