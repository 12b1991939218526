"""Settings of `tabular-diffusion`."""

from typing import Literal

from pydantic import Field

from stoker.job.architecture.layers import Activation, Width
from stoker.job.section import Section


class TabularDiffusion(Section):
    """A diffusion of rows after TabDDPM (Kotelnikov et al. 2023), conditional on the class where the data has classes.

    Noise is added to numbers and one-hot categories alike, and residual layers learn to remove it, with the scaling,
    the noise levels and the sampler of Karras et al. 2022.
    """

    family: Literal["tabular-diffusion"]
    """The network family."""

    width: Width | None = None
    """Units of each layer; default: from the number of samples."""

    layers: int = Field(4, ge=1, le=64)
    """Residual layers."""

    activation: Activation = "silu"
    """What stands between the layers."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the hidden units that are switched off at random while training."""

    steps: int = Field(30, ge=2, le=1000)
    """Steps from noise to a row, each of which computes the network twice."""
