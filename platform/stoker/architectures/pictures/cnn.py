"""A convolutional network for images."""

import math
from collections.abc import Mapping
from itertools import pairwise

from torch import Tensor, nn

from stoker.architectures.heads import outputs
from stoker.architectures.inputs import only_one
from stoker.architectures.layers import ACTIVATIONS, Norm
from stoker.architectures.pictures.mirroring import answer
from stoker.architectures.pictures.widths import doubling, stages_down_to
from stoker.errors import Problem
from stoker.job.architecture.cnn import Cnn as CnnSettings
from stoker.job.signature import Signature

GROUPS = 8
FIRST_CHANNELS = 32
MAX_CHANNELS = 256
MIN_MAP = 2
"""Default stages halve the image down to this size: a smaller map leaves nothing to average."""


class Cnn(nn.Module):
    """Stages that halve the image, global average pooling, and a linear layer."""

    def __init__(self, settings: CnnSettings, signature: Signature) -> None:
        super().__init__()
        assert settings.channels is not None
        self.name, shape = next(iter(signature.images.items()))
        self.mirrored = settings.mirrored
        stage = Residual if settings.blocks == "residual" else Plain
        widths = [shape.channels, *settings.channels]
        self.stages = nn.Sequential(
            *(stage(before, after, settings.kernel, settings.activation) for before, after in pairwise(widths))
        )
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(settings.dropout) if settings.dropout else nn.Identity()
        self.output = nn.Linear(widths[-1], outputs(signature))

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, outputs) from an image (B, channels, height, width)."""
        return answer(self, self._outputs, inputs[self.name], self.mirrored)

    def _outputs(self, image: Tensor) -> Tensor:
        features = self.mean(self.stages(image)).flatten(1)
        result: Tensor = self.output(self.dropout(features))
        return result


class Plain(nn.Module):
    """Convolution, pooling, normalisation, activation.

    Pooling precedes normalisation and activation, which then process a quarter of the values: otherwise normalisation
    costs as much as the convolution, in bfloat16 even more.
    """

    def __init__(self, before: int, after: int, kernel: int, activation: str) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False)
        self.norm = Norm(math.gcd(GROUPS, after), after)
        self.pool = nn.MaxPool2d(2)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, after, height / 2, width / 2)."""
        result: Tensor = self.activation(self.norm(self.pool(self.convolution(maps))))
        return result


class Residual(nn.Module):
    """Two convolutions with a shortcut around them (He et al. 2016), then pooling."""

    def __init__(self, before: int, after: int, kernel: int, activation: str) -> None:
        super().__init__()
        padding = kernel // 2
        self.body = nn.Sequential(
            nn.Conv2d(before, after, kernel, padding=padding, bias=False),
            Norm(math.gcd(GROUPS, after), after),
            ACTIVATIONS[activation](),
            nn.Conv2d(after, after, kernel, padding=padding, bias=False),
            Norm(math.gcd(GROUPS, after), after),
        )
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, 1, bias=False)
        self.pool = nn.MaxPool2d(2)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, after, height / 2, width / 2)."""
        result: Tensor = self.activation(self.pool(self.body(maps) + self.shortcut(maps)))
        return result


def build(settings: CnnSettings, signature: Signature) -> nn.Module:
    """Build the network."""
    return Cnn(settings, signature)


def with_default_sizes(settings: CnnSettings, signature: Signature, samples: int) -> CnnSettings:
    """Choose stages that halve the image to 2 or 3 pixels and double the channels, unless the job sets them."""
    if settings.channels is not None or len(signature.images) != 1:
        return settings
    stages = stages_down_to(MIN_MAP, signature.image)
    return settings.model_copy(update={"channels": doubling(stages, FIRST_CHANNELS, MAX_CHANNELS)})


def misfits(settings: CnnSettings, signature: Signature) -> list[Problem]:
    """Return the settings that do not fit the number and size of the images."""
    if problems := only_one("image", settings.family, signature):
        return problems
    image = signature.image
    side = min(image.height, image.width)
    size = f"{image.height}x{image.width}"
    if settings.kernel > side:
        largest = side if side % 2 else side - 1
        message = f"{settings.kernel} is larger than the {size} images; use at most {max(largest, 1)}"
        problems.append(Problem("architecture.kernel", message))
    if settings.channels and 2 ** len(settings.channels) > side:
        most = int(math.log2(side))
        message = (
            f"{len(settings.channels)} stages halve {size} images to nothing; use at most {most}"
            if most
            else f"{size} images cannot be halved; use larger ones or another family"
        )
        problems.append(Problem("architecture.channels", message))
    return problems
