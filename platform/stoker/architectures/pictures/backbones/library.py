"""The contract of a library of networks for pictures."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

from stoker.job.dataset import Normalization
from stoker.job.signature import ImageInput


@dataclass(frozen=True)
class Stage:
    """A part of a network that ends where its maps are about to shrink."""

    module: str
    """Name of its last module."""
    channels: int
    stride: int
    """Pixels of the picture that a place of the map stands for, in each direction."""


class Library(ABC):
    """Networks by name, their weights, and their maps."""

    name: ClassVar[str]

    @abstractmethod
    def weights(self, model: str) -> Sequence[str]:
        """Return the ids of a network's weights, the recommended ones first; none where there are none."""

    @abstractmethod
    def download(self, model: str, weights: str) -> Path:
        """Return the file of a network's weights, which is downloaded once.

        Raises:
            Exception: any, if the address is out of reach.

        """

    @abstractmethod
    def normalization(self, model: str, weights: str) -> Normalization:
        """Return how pictures are standardised for some weights; for those of a file, as the network usually needs."""

    @abstractmethod
    def build(self, model: str, image: ImageInput) -> tuple[nn.Module, int]:
        """Build a network without its last layer, with random weights; return it with the number of its features.

        Raises:
            Exception: any, if it cannot take pictures of this size.

        """

    @abstractmethod
    def stages(self, name: str, model: nn.Module, image: ImageInput) -> tuple[Stage, ...]:
        """Return the stages of a network, one for each stride."""

    @abstractmethod
    def with_maps(self, model: nn.Module, stages: Sequence[Stage]) -> nn.Module:
        """Return the network such that `maps` can take its maps; its weights keep their names."""

    @abstractmethod
    def maps(self, model: nn.Module, stages: Sequence[Stage], images: Tensor) -> list[Tensor]:
        """Return the maps of (B, channels, height, width) images, one a stage, largest first."""

    def adapted(self, weights: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Return weights that fit pictures of another size, where the library knows how."""
        return weights


def of_each_stride(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Return the last stage of each stride, those with maps as large as the picture left out."""
    last = {stage.stride: stage for stage in stages if stage.stride > 1}
    return tuple(last[stride] for stride in sorted(last))
