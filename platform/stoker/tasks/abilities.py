"""What a network can do beyond `forward`: predict, generate and the served model follow these protocols."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from stoker.tasks.objective import NoiseLike


@runtime_checkable
class CanSample(Protocol):
    """Makes new samples."""

    def sample(self, classes: Tensor | None, noise: NoiseLike) -> Tensor:
        """Return (B, channels, height, width) standardised images, one a row of the noise.

        Args:
            classes: (B,) class numbers to make samples of; None where the data has no classes.
            noise: of B rows.

        """


@runtime_checkable
class CanDecode(Protocol):
    """Writes an answer step by step, such as a text."""

    def decode(self, inputs: Mapping[str, Tensor], noise: NoiseLike, **settings: Any) -> Tensor:
        """Return (B, length) token numbers."""


@runtime_checkable
class CanEncode(Protocol):
    """Compresses a sample to a code."""

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, width) codes."""
