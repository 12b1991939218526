"""What a network can do beyond `forward`: predict, evaluate, generate and the served model follow these protocols."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from torch import Tensor

if TYPE_CHECKING:
    from stoker.tasks.objective import NoiseLike


@runtime_checkable
class CanSample(Protocol):
    """Makes new samples."""

    def sample(self, classes: Tensor | None, noise: "NoiseLike") -> Tensor:
        """Return (B, channels, height, width) standardised images, one a row of the noise.

        Args:
            classes: (B,) class numbers to make samples of; None where the data has no classes.
            noise: of B rows.

        """


@runtime_checkable
class CanDecode(Protocol):
    """Answers otherwise than by one forward pass, such as step by step or as the mean of many passes."""

    def decode(self, inputs: Mapping[str, Tensor], noise: "NoiseLike") -> Tensor:
        """Return (B, ...) outputs for metrics and predictions, in place of those of `forward`."""


@runtime_checkable
class CanEncode(Protocol):
    """Compresses a sample to a code."""

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, width) codes."""
