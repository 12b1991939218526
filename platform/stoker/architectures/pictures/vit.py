"""A vision transformer: an image as a sequence of patches."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.architectures.attention import DEVIATION, Block
from stoker.architectures.heads import outputs
from stoker.architectures.inputs import only_one
from stoker.architectures.pictures.mirroring import answer
from stoker.architectures.texts.decoder import INNER
from stoker.errors import Problem
from stoker.job.architecture.vit import Vit as VitSettings
from stoker.job.signature import Signature

PATCHES = 8
"""Patches beside each other of the shorter side, by default."""
MAX_PATCH = 16
LONGEST_WAVE = 10_000.0
"""Of the sines and cosines of a place, in patches, divided by 2 pi."""


class Vit(nn.Module):
    """Patches with their places, blocks of attention, the mean or a token of its own, and a linear layer."""

    def __init__(self, settings: VitSettings, signature: Signature) -> None:
        super().__init__()
        assert settings.patch is not None
        self.name, shape = next(iter(signature.images.items()))
        self.patch, width, self.mirrored = settings.patch, settings.width, settings.mirrored
        down, right = (-(-side // self.patch) for side in (shape.height, shape.width))
        self.cut = nn.Conv2d(shape.channels, width, self.patch, self.patch)
        self.places: Tensor
        if settings.positions == "learned":
            self.places = nn.Parameter(torch.empty(down * right, width).normal_(std=DEVIATION))
        else:
            self.register_buffer("places", sines(down, right, width), persistent=False)
        self.token = nn.Parameter(torch.zeros(width)) if settings.pool == "token" else None
        self.dropout = nn.Dropout(settings.dropout)
        inner = settings.feedforward or INNER * width
        last = max(settings.layers - 1, 1)
        self.blocks = nn.ModuleList(
            Block(
                width, settings.heads, settings.heads, inner, settings.dropout, settings.stochastic_depth * depth / last
            )
            for depth in range(settings.layers)
        )
        for name, parameter in self.blocks.named_parameters():
            if parameter.ndim == 2:
                nn.init.xavier_uniform_(parameter)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, outputs(signature))

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, outputs) from an image (B, channels, height, width)."""
        return answer(self, self._outputs, inputs[self.name], self.mirrored)

    def _outputs(self, image: Tensor) -> Tensor:
        below, beside = (-side % self.patch for side in image.shape[2:])
        if below or beside:
            image = functional.pad(image, (0, beside, 0, below))
        states = self.cut(image).flatten(2).transpose(1, 2) + self.places
        if self.token is not None:
            states = torch.cat([self.token.expand(len(states), 1, -1).to(states.dtype), states], dim=1)
        states = self.dropout(states)
        for block in self.blocks:
            states = block(states)
        states = self.norm(states)
        features = states[:, 0] if self.token is not None else states.mean(dim=1)
        result: Tensor = self.output(self.dropout(features))
        return result


def sines(down: int, right: int, width: int) -> Tensor:
    """Return (down * right, width): for each patch, row by row, sines and cosines of its row and of its column."""
    quarter = width // 4
    speed = LONGEST_WAVE ** (-torch.arange(quarter, dtype=torch.float32) / quarter)
    row, column = (torch.arange(count, dtype=torch.float32).unsqueeze(1) * speed for count in (down, right))
    row, column = row.repeat_interleave(right, dim=0), column.repeat(down, 1)
    return torch.cat([row.sin(), row.cos(), column.sin(), column.cos()], dim=1)


def build(settings: VitSettings, signature: Signature) -> nn.Module:
    """Build the network."""
    return Vit(settings, signature)


def with_default_sizes(settings: VitSettings, signature: Signature, samples: int) -> VitSettings:
    """Choose patches of which eight stand beside each other, unless the job sets them."""
    if settings.patch is not None or len(signature.images) != 1:
        return settings
    side = min(signature.image.height, signature.image.width)
    return settings.model_copy(update={"patch": min(MAX_PATCH, max(1, -(-side // PATCHES)))})


def misfits(settings: VitSettings, signature: Signature) -> list[Problem]:
    """Return a problem for other samples than images, and for a width that cannot be divided."""
    if problems := only_one("image", settings.family, signature):
        return problems
    waves = 4 if settings.positions == "sincos" else 1
    for divisor, what in ((settings.heads, f"{settings.heads} heads"), (waves, "the 4 waves of sincos positions")):
        if settings.width % divisor:
            nearest = settings.width - settings.width % divisor or divisor
            message = f"{settings.width} cannot be divided by {what}; use {nearest}"
            problems.append(Problem("architecture.width", message))
            break
    image = signature.image
    if settings.patch and settings.patch > max(image.height, image.width):
        message = f"{settings.patch} is larger than the {image.height}x{image.width} images; use at most "
        problems.append(Problem("architecture.patch", f"{message}{max(image.height, image.width) // 2 or 1}"))
    return problems
