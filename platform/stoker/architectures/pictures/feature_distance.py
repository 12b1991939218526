"""How far the features of an image are from those of normal ones: what is far from all of them is odd."""

import math
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.architectures.inputs import only_one
from stoker.architectures.pictures import cnn
from stoker.architectures.pictures.backbones import hosts
from stoker.architectures.pictures.backbones.backbone import Backbone, OnBackbone, rebuilt
from stoker.architectures.pictures.normal_features import Bank, Gaussian
from stoker.errors import Problem
from stoker.job.architecture.cnn import Cnn as CnnSettings
from stoker.job.architecture.feature_distance import FeatureDistance as FeatureDistanceSettings
from stoker.job.signature import NormalityOutput, Signature
from stoker.randomness import Noise

TURNS = 4
"""Quarters of a turn."""
TINY = 1e-12


class FeatureDistance(OnBackbone):
    """The stages of a `cnn` or a backbone, what is known of the features of normal images, and a layer to learn by."""

    threshold: Tensor

    def __init__(self, settings: FeatureDistanceSettings, signature: Signature, weighted: bool = True) -> None:
        super().__init__()
        self.name, shape = next(iter(signature.images.items()))
        self.size = (shape.height, shape.width)
        self.patches, self.frozen = settings.level == "patches", settings.frozen
        classes = len(signature.output.classes) if isinstance(signature.output, NormalityOutput) else 1
        alone = classes == 1 if settings.turns is None else settings.turns
        self.turns = TURNS if alone and not self.frozen else 1
        self.register_buffer("threshold", torch.ones(()))
        if settings.backbone:
            self.backbone: Backbone | None = Backbone(settings.backbone, shape, maps=True, weighted=weighted)
            channels, strides = self.backbone.channels, self.backbone.strides
            if self.frozen:
                self.backbone.requires_grad_(False)
        else:
            assert settings.channels is not None
            self.backbone = None
            self.stages = _stages(settings, shape.channels)
            channels = settings.channels
            strides = tuple(2 ** (number + 1) for number in range(len(channels)))
        self.output = nn.Linear(channels[-1], classes * self.turns)
        self.compared = _compared(strides, self.patches, is_deep=self.backbone is not None)
        """Which maps patches are compared by, of which the smaller ones are enlarged."""
        self.multiple = strides[-1] if self.backbone is not None else 1
        width, places = sum(channels[level] for level in self.compared), 1
        if self.patches:
            sides = (-(-side // self.multiple) * self.multiple for side in self.size)
            places = math.prod(side // strides[self.compared[0]] for side in sides)
        if settings.distance == "gaussian":
            self.known: Gaussian | Bank = Gaussian(places, width)
        else:
            self.known = Bank(settings.bank, width, settings.neighbours)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, 1 + height * width) the distance of the image and the share of each pixel in it.

        Both are in units of the threshold.
        """
        maps = self._maps(inputs[self.name]).float()
        with torch.autocast(maps.device.type, enabled=False):
            places = maps.flatten(2).transpose(1, 2)  # (B, places, width)
            if self.patches:
                parts = self.known.distances(places)
                score = parts.amax(dim=1)
            else:
                score, parts = self._shares(places)
            parts = parts.view(-1, 1, *maps.shape[2:])
            pixels = functional.interpolate(parts, self.size, mode="bilinear", align_corners=False)
            return torch.cat([score.unsqueeze(1), pixels.flatten(1)], dim=1) / self.threshold

    def losses(self, inputs: Mapping[str, Tensor], classes: Tensor, noise: Noise) -> Tensor:
        """Return (B,) cross-entropies of the class of each image and, where that is learnt, of its turn."""
        images = inputs[self.name]
        target = classes.clamp(min=0)
        if self.turns > 1:
            turn = (noise.uniform(1).squeeze(1) * TURNS).long().clamp(max=TURNS - 1)
            images = _turned(images, turn)
            target = target * TURNS + turn
        features = self._maps_of_stages(images)[-1].mean(dim=(2, 3))
        logits = self.output(features.detach() if self.frozen else features)
        return functional.cross_entropy(logits.float(), target, reduction="none")

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, width) features of whole images."""
        return _unit(self._maps_of_stages(inputs[self.name])[-1].mean(dim=(2, 3)).float())

    def memorise(self, batches: Iterable[Mapping[str, Tensor]]) -> None:
        """Learn what the features of normal images are like."""
        found = []
        for inputs in batches:
            if self.patches:
                found.append(self._maps(inputs[self.name]).float().flatten(2).transpose(1, 2))
            else:
                found.append(self.encode(inputs).unsqueeze(1))
        self.known.learn(torch.cat(found))

    def _maps(self, images: Tensor) -> Tensor:
        """Return (B, width, down, right) what is compared of the places of images."""
        maps = self._maps_of_stages(images)
        larger, *smaller = [maps[level] for level in self.compared]
        together = torch.cat([larger, *(functional.interpolate(each, larger.shape[2:]) for each in smaller)], dim=1)
        if self.patches and self.backbone is not None:
            return functional.avg_pool2d(together, 3, 1, 1)  # a patch with those around it, as PatchCore has it
        return together

    def _maps_of_stages(self, images: Tensor) -> list[Tensor]:
        if self.backbone is not None:
            found: list[Tensor] = self.backbone(hosts.padded(images, self.multiple))
            return found
        maps = []
        for stage in self.stages:
            images = stage(images)
            maps.append(images)
        return maps

    def _shares(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B,) distances of whole images, and (B, places) what each place adds to it, at least 0."""
        mean = places.mean(dim=1)
        score = self.known.distances(_unit(mean).unsqueeze(1)).squeeze(1)
        difference = self.known.difference(_unit(mean))  # to what is nearest: where a place points there, it is odd
        along = (places * difference.unsqueeze(1)).sum(dim=2).clamp(min=0)
        return score, along / along.amax(dim=1, keepdim=True).clamp(min=TINY) * score.unsqueeze(1)


def _stages(settings: FeatureDistanceSettings, colours: int) -> nn.Sequential:
    assert settings.channels is not None
    stage = cnn.Residual if settings.blocks == "residual" else cnn.Plain
    widths = [colours, *settings.channels]
    return nn.Sequential(
        *(stage(before, after, settings.kernel, settings.activation) for before, after in pairwise(widths))
    ).requires_grad_(not settings.frozen)


def _compared(strides: tuple[int, ...], patches: bool, is_deep: bool) -> list[int]:
    """Return which maps are compared: the last one for whole images, for patches the last two.

    Of a deep network the very last one is left out: it knows the classes that it was trained for, and little of places.
    """
    levels = list(range(len(strides)))
    if not patches:
        return levels[-1:]
    return levels[-3:-1] if is_deep and len(levels) > 2 else levels[-2:]


def _unit(features: Tensor) -> Tensor:
    """Return features (B, width) of length 1: how much there is of all of them tells little."""
    return functional.normalize(features, dim=1)


def _turned(images: Tensor, turn: Tensor) -> Tensor:
    """Turn each image (B, channels, height, width) by so many quarters, in its own frame."""
    by_turn = torch.stack(
        [functional.interpolate(images.rot90(number, (2, 3)), images.shape[2:]) for number in range(TURNS)]
    )
    return by_turn[turn, torch.arange(len(images), device=images.device)]


def _as_cnn(settings: FeatureDistanceSettings) -> CnnSettings:
    return CnnSettings(family="cnn", channels=settings.channels, kernel=settings.kernel)


def build(settings: FeatureDistanceSettings, signature: Signature) -> nn.Module:
    """Build the network."""
    return FeatureDistance(settings, signature)


def rebuild(settings: FeatureDistanceSettings, signature: Signature, saved: Path) -> nn.Module:
    """Build the network of a saved model."""
    return rebuilt(lambda weighted: FeatureDistance(settings, signature, weighted), settings.backbone, saved)


def with_default_sizes(
    settings: FeatureDistanceSettings, signature: Signature, samples: int
) -> FeatureDistanceSettings:
    """Choose the stages of a `cnn`, and no larger a bank than there are features."""
    bank = settings.bank if settings.level == "patches" else min(settings.bank, samples)
    if settings.backbone:
        return hosts.pinned(settings).model_copy(update={"bank": bank})  # type: ignore[no-any-return] # the same class
    channels = cnn.with_default_sizes(_as_cnn(settings), signature, samples).channels
    return settings.model_copy(update={"channels": channels, "bank": bank})


def notes(settings: FeatureDistanceSettings, signature: Signature) -> list[str]:
    """Return where a backbone comes from, and what frozen features are worth."""
    found = hosts.notes(settings, signature)
    if settings.backbone and settings.backbone.weights == "none" and settings.frozen:
        found.append("random features that are frozen tell little; name weights, or leave frozen out")
    if settings.frozen:
        found.append("frozen features learn nothing, so that a pass over the pictures is enough: training.epochs: 1")
    return found


def misfits(settings: FeatureDistanceSettings, signature: Signature) -> list[Problem]:
    """Return the settings that do not fit the number and size of the images."""
    if problems := only_one("image", settings.family, signature):
        return problems
    if settings.backbone:
        problems = hosts.unused(settings, "channels", "blocks", "kernel", "activation")
        problems = problems or hosts.map_misfits(settings.backbone, signature.image, least=1)
    else:
        problems = cnn.misfits(_as_cnn(settings), signature)
    if settings.turns and settings.frozen:
        message = "does nothing with frozen features, which learn nothing; leave one of them out"
        problems.append(Problem("architecture.turns", message))
    return problems
