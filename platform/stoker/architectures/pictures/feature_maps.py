"""Feature maps: the contract between a network's body, which reads an image, and the head that works on its maps."""

from typing import Protocol

from torch import Tensor


class FeatureMaps(Protocol):
    """A module that makes maps of images, each coarser than the one before."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Return the channels of each map."""

    @property
    def strides(self) -> tuple[int, ...]:
        """Return the pixels of the image to a cell of each map, along one side: powers of two, rising."""

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Return maps (B, channels, ceil(height / stride), ceil(width / stride)) of images (B, C, height, width)."""
