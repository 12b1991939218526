"""What one sample and one output look like: the only thing that dataset, network and task know of each other."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TableInput:
    """A row: `numbers` float columns and one integer for each category column.

    Batches hold `numbers` (B, numbers) float32 and `categories` (B, len(categories)) int64.
    """

    numbers: int
    categories: tuple[int, ...]
    """Size of each vocabulary; 0 stands for unknown or missing in each."""


@dataclass(frozen=True)
class ImageInput:
    """A picture. Batches hold `image` (B, channels, height, width) float32, standardised on the training set."""

    channels: int
    height: int
    width: int


@dataclass(frozen=True)
class ClassOutput:
    """One of several classes; networks return (B, classes) logits."""

    classes: tuple[str, ...]


@dataclass(frozen=True)
class ValueOutput:
    """A number; networks return (B, 1), in units of `scale` around `mean`."""

    name: str
    mean: float
    scale: float


Input = TableInput | ImageInput
Output = ClassOutput | ValueOutput


@dataclass(frozen=True)
class Signature:
    """Input and output of a network."""

    input: Input
    output: Output
