"""Settings of `autoencoder`."""

from typing import Literal

from pydantic import Field

from stoker.job.architecture.layers import Activation, Width, Widths
from stoker.job.section import Section


class Autoencoder(Section):
    """An autoencoder: it presses an image, or a row of a table, through a short code, and draws it again.

    What it cannot draw again is odd: `anomaly-detection` goes by that. For `reconstruction`, evaluation has noise and
    mask, too: the image is to be drawn without them.
    """

    family: Literal["autoencoder"]
    """The network family."""

    channels: Widths | None = None
    """Channels of the stages, each of which halves the image, largest maps first; default: from the size of the images.
    """

    hidden: Widths | None = None
    """Widths of the layers between a row of a table and its code, first to last; the way back has the same. Default:
    from the number of columns."""

    code: Width = 16
    """Numbers that a sample is pressed into; with many of them odd images are drawn again, too."""

    noise: float = Field(0.0, ge=0, le=10)
    """Standard deviation of the noise that is added to a sample while training, and has to be left out of the drawn
    one, in units of standardised values (Vincent et al. 2008)."""

    mask: float = Field(0.0, ge=0, lt=1)
    """Share of the pixels, or columns, that are hidden while training, and have to be drawn from the others."""

    sparse: float = Field(0.0, ge=0, le=100)
    """Weight in the loss of the mean size of the numbers of the code: most of them stay near 0 (Ng 2011)."""

    activation: Activation = "relu"
    """What stands between the layers."""
