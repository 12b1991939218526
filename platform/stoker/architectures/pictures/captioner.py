"""A network that says what is in an image: an encoder of its places, and what writes a text of them."""

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from stoker.architectures.attention import Block
from stoker.architectures.inputs import only_one
from stoker.architectures.pictures import cnn, vit
from stoker.architectures.pictures.backbones import hosts
from stoker.architectures.pictures.backbones.backbone import Backbone, OnBackbone, rebuilt
from stoker.architectures.pictures.widths import doubling, stages_down_to
from stoker.architectures.texts.decoder import INNER
from stoker.architectures.texts.writer import Memory, Writer, start_blocks
from stoker.errors import Problem
from stoker.job.architecture.captioner import Captioner as CaptionerSettings
from stoker.job.architecture.transformer import Transformer as TransformerSettings
from stoker.job.architecture.vit import Vit as VitSettings
from stoker.job.signature import ImageInput, Signature, TextOutput

FIRST_CHANNELS, MAX_CHANNELS = 32, 256
MIN_MAP = 6
"""Default stages halve the image down to about this size."""


class Captioner(OnBackbone, Writer):
    """Places of an image with where they are, blocks in which they attend to each other, and what writes of them."""

    def __init__(self, settings: CaptionerSettings, signature: Signature, weighted: bool = True) -> None:
        assert isinstance(signature.output, TextOutput)
        super().__init__(_of_writer(settings), signature.output)
        self.name, shape = next(iter(signature.images.items()))
        self.multiple = settings.patch if settings.encoder == "vit" else None
        """What height and width of the image are padded to a multiple of."""
        self.backbone = None
        if settings.backbone:
            self.backbone = Backbone(settings.backbone, shape, maps=True, weighted=weighted)
            self.level = _level(self.backbone.strides, shape)
            self.multiple = self.backbone.strides[-1]
            self.look: nn.Module = nn.Conv2d(self.backbone.channels[self.level], settings.width, 1)
            stride = self.backbone.strides[self.level]
            down, right = (-(-side // self.multiple) * self.multiple // stride for side in (shape.height, shape.width))
        else:
            self.look, (down, right) = _encoder(settings, shape)
        self.places: Tensor
        self.register_buffer("places", vit.sines(down, right, settings.width), persistent=False)
        assert settings.encoder_layers is not None
        inner = INNER * settings.width
        self.encoder = nn.ModuleList(
            Block(settings.width, settings.heads, settings.heads, inner, settings.dropout)
            for _ in range(settings.encoder_layers)
        )
        start_blocks(self.encoder)
        self.norm_source = nn.LayerNorm(settings.width)

    def _read(self, inputs: Mapping[str, Tensor]) -> Memory:
        image = inputs[self.name]
        if self.multiple:
            image = hosts.padded(image, self.multiple)
        if self.backbone is not None:
            image = self.backbone(image)[self.level]
        states = self.dropout(self.look(image).flatten(2).transpose(1, 2) + self.places)
        for block in self.encoder:
            states = block(states)
        there = torch.ones(len(states), 1, 1, states.shape[1], dtype=torch.bool, device=states.device)
        number = torch.arange(len(states), device=states.device)
        return Memory(self.norm_source(states), there, number, [])


def _level(strides: tuple[int, ...], shape: ImageInput) -> int:
    """Return which map of a backbone is read: the last one with about as many places as a cnn leaves, if there is."""
    large = [level for level, stride in enumerate(strides) if min(shape.height, shape.width) // stride >= MIN_MAP]
    return max(large, default=0)


def _of_writer(settings: CaptionerSettings) -> TransformerSettings:
    """Return the settings of what writes."""
    names = ("width", "layers", "heads", "dropout", "word_dropout", "beam", "length_penalty", "no_repeat")
    return TransformerSettings(family="transformer", **{name: getattr(settings, name) for name in names})


def _encoder(settings: CaptionerSettings, shape: ImageInput) -> tuple[nn.Module, tuple[int, int]]:
    """Return what turns an image into (B, width, down, right) places, and how many these are."""
    if settings.encoder == "vit":
        assert settings.patch is not None
        cut = nn.Conv2d(shape.channels, settings.width, settings.patch, settings.patch)
        return cut, (-(-shape.height // settings.patch), -(-shape.width // settings.patch))
    assert settings.channels is not None
    widths = [shape.channels, *settings.channels]
    stages = [cnn.Plain(before, after, 3, "relu") for before, after in pairwise(widths)]
    scale = 2 ** len(settings.channels)
    return nn.Sequential(*stages, nn.Conv2d(widths[-1], settings.width, 1)), (
        shape.height // scale,
        shape.width // scale,
    )


def build(settings: CaptionerSettings, signature: Signature) -> nn.Module:
    """Build the network."""
    return Captioner(settings, signature)


def rebuild(settings: CaptionerSettings, signature: Signature, saved: Path) -> nn.Module:
    """Build the network of a saved model."""
    return rebuilt(lambda weighted: Captioner(settings, signature, weighted), settings.backbone, saved)


def with_default_sizes(settings: CaptionerSettings, signature: Signature, samples: int) -> CaptionerSettings:
    """Choose stages or patches that leave about 8x8 places, and how many blocks read them."""
    if len(signature.images) != 1:
        return settings
    settings = hosts.pinned(settings)
    update: dict[str, object] = {}
    if settings.encoder == "cnn" and settings.channels is None and not settings.backbone:
        stages = stages_down_to(MIN_MAP, signature.image)
        update["channels"] = doubling(stages, FIRST_CHANNELS, MAX_CHANNELS)
    if settings.encoder == "vit" and settings.patch is None:
        update["patch"] = vit.with_default_sizes(VitSettings(family="vit"), signature, samples).patch
    if settings.encoder_layers is None:
        update["encoder_layers"] = settings.layers if settings.encoder == "vit" else 1
    return settings.model_copy(update=update)


def misfits(settings: CaptionerSettings, signature: Signature) -> list[Problem]:
    """Return the settings that do not fit each other, or the number and size of the images."""
    if problems := only_one("image", settings.family, signature):
        return problems
    problems = hosts.unused(settings, "encoder", "channels", "patch")
    if settings.backbone and not problems:
        problems = hosts.map_misfits(settings.backbone, signature.image, least=1)
    step = math.lcm(settings.heads, 4)
    if settings.width % step:
        nearest = settings.width - settings.width % step or step
        message = f"{settings.width} cannot be divided by {settings.heads} heads and by 4; use {nearest}"
        problems.append(Problem("architecture.width", message))
    for key, encoder in (("channels", "cnn"), ("patch", "vit")):
        if getattr(settings, key) is not None and settings.encoder != encoder and not settings.backbone:
            message = f"does nothing with encoder: {settings.encoder}; it is for {encoder}"
            problems.append(Problem(f"architecture.{key}", message))
    image = signature.image
    most = int(math.log2(min(image.height, image.width)))
    if settings.channels and len(settings.channels) > most:
        message = f"{len(settings.channels)} stages halve {image.height}x{image.width} images to nothing; use at most "
        problems.append(Problem("architecture.channels", f"{message}{most}"))
    if settings.patch and settings.patch > max(image.height, image.width):
        message = f"{settings.patch} is larger than the {image.height}x{image.width} images"
        problems.append(Problem("architecture.patch", message))
    return problems
