"""Types that the settings of several network families share."""

from typing import Annotated, Literal

from pydantic import Field

Activation = Literal["relu", "gelu", "silu", "tanh", "sigmoid"]
Width = Annotated[int, Field(ge=1, le=65536)]
Beam = Annotated[int, Field(ge=1, le=64)]
LengthPenalty = Annotated[float, Field(ge=0, le=10)]
WordVectors = Literal["random", "co-occurrence"]
NoRepeat = Annotated[int, Field(ge=0, le=16)]
Widths = Annotated[tuple[Width, ...], Field(strict=False, min_length=1)]
