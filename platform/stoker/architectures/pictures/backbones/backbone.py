"""A network of a library as a part of ours: with its weights, its frozen stages, and its features or maps."""

import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from stoker.architectures.pictures.backbones.library import Library, Stage
from stoker.architectures.pictures.backbones.normalisation import keep_statistics, with_group_norm
from stoker.architectures.pictures.backbones.sources import FROZEN, WEIGHTS, colour_misfits, library_of, weight_file
from stoker.architectures.pictures.backbones.weight_files import digest_of, fill, read_weights, without_prefix
from stoker.errors import JobError, Problem
from stoker.job.architecture.backbone import Backbone as BackboneSettings
from stoker.job.saved_model import ORIGIN
from stoker.job.signature import ImageInput
from stoker.jobfile.backbone_names import NAME


class Backbone(nn.Module):
    """A network of torchvision or timm whose output depends on the sample alone.

    Args:
        settings: with the library.
        image: that it takes.
        maps: whether it returns maps of several strides, rather than features of the whole picture.
        weighted: whether to load the weights that the settings name; else they are to be loaded later.

    """

    def __init__(self, settings: BackboneSettings, image: ImageInput, maps: bool, weighted: bool = True) -> None:
        super().__init__()
        library = library_of(settings)
        model, self.width = _built(library, settings.name, image)
        """Features of a picture."""
        self.stages = library.stages(settings.name, model, image)
        self.channels = tuple(stage.channels for stage in self.stages)
        """Of each map, largest maps first."""
        self.strides = tuple(stage.stride for stage in self.stages)
        """Pixels of the picture in each direction that a place of each map stands for."""
        self._file = weight_file(settings) if weighted and settings.weights != "none" else None
        self._is_pretrained = settings.weights != "none"
        on_meta = torch.get_default_device().type == "meta"
        if self._file is not None and not on_meta:
            given = without_prefix(read_weights(self._file), list(model.state_dict()))
            fill(model, library.adapted(given, model), str(self._file), settings.name)
        if not self._is_pretrained:
            with_group_norm(model)
        _freeze(model, settings, self.stages)
        self.model = library.with_maps(model, self.stages) if maps else model
        self._maps_of = library.maps if maps else None
        self.train()

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        """Return (B, width) features of (B, channels, height, width) pictures, or their maps."""
        if self._maps_of is not None:
            return self._maps_of(self.model, self.stages, images)
        features: Tensor = self.model(images)
        return features

    def train(self, mode: bool = True) -> "Backbone":
        """Set the mode; statistics of batches that came with the weights stay as they are."""
        super().train(mode)
        if self._is_pretrained:
            keep_statistics(self)
        return self

    def frozen_weights(self) -> frozenset[str]:
        """Return the names of weights in frozen stages that can be read again where they came from."""
        if not self._is_pretrained:
            return frozenset()
        frozen = {name for name, each in self.named_parameters() if not each.requires_grad}
        parts = {name.rpartition(".")[0] for name in frozen}
        statistics = {name for name, _ in self.named_buffers() if name.rpartition(".")[0] in parts}
        return frozenset(frozen | (statistics & self.state_dict().keys()))

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of the file that the frozen weights came from; empty where none is frozen."""
        return digest_of(self._file) if self._file is not None and self.frozen_weights() else ""


class OnBackbone(nn.Module):
    """A network with a backbone, whose frozen weights are not saved: they are read again where they came from."""

    backbone: Backbone | None

    def unchanged_weights(self) -> frozenset[str]:
        """Return the names of the weights that training does not change."""
        return (
            frozenset(f"backbone.{name}" for name in self.backbone.frozen_weights()) if self.backbone else frozenset()
        )

    def origin_digest(self) -> str:
        """Return the SHA-256 of the backbone's weights; empty where none is frozen."""
        return self.backbone.digest if self.backbone else ""

    def save_origin(self, folder: Path) -> None:
        """Write the SHA-256 of the file with the weights that are not saved, if there are any."""
        if digest := self.origin_digest():
            (folder / ORIGIN).write_text(json.dumps({"sha256": digest}), encoding="utf-8")


def rebuilt(build: Callable[[bool], OnBackbone], settings: BackboneSettings | None, saved: Path) -> OnBackbone:
    """Build the network of a saved model, whose own weights are still to be loaded.

    Args:
        build: takes whether to load the backbone's weights.
        settings: of the backbone; None without one.
        saved: the folder of the model.

    Raises:
        JobError: the weights that are not saved with it are gone, or are others than at its training.

    """
    if settings is None or not (saved / ORIGIN).is_file():
        return build(False)
    digest = str(json.loads((saved / ORIGIN).read_text(encoding="utf-8"))["sha256"])
    network = build(True)
    if network.origin_digest() != digest:
        weights = f"the weights '{settings.weights}' are not those that this run was trained on"
        raise JobError([Problem(WEIGHTS, f"{weights} (SHA-256 {digest[:12]}); put these back")])
    return network


def _built(library: Library, name: str, image: ImageInput) -> tuple[nn.Module, int]:
    try:
        return library.build(name, image)
    except Exception as error:  # each network refuses sizes that it cannot take in its own way
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        size = f"{image.channels}x{image.height}x{image.width}"
        message = f"'{name}' of {library.name} cannot be built for pictures of {size}: {reason}"
        raise JobError([Problem(NAME, f"{message}; set dataset.image.size, or choose another network")]) from error


def _freeze(model: nn.Module, settings: BackboneSettings, stages: Sequence[Stage]) -> None:
    """Take the gradients from the weights of the first stages, in the order in which the network has its modules."""
    if settings.frozen_stages == "all":
        model.requires_grad_(False)
    elif settings.frozen_stages:
        end = stages[settings.frozen_stages - 1].module
        names = [name for name, _ in model.named_modules()]
        inside = [place for place, name in enumerate(names) if name == end or name.startswith(f"{end}.")]
        frozen = set(names[: inside[-1] + 1])
        for name, parameter in model.named_parameters():
            if name.rpartition(".")[0] in frozen:
                parameter.requires_grad_(False)


def misfits(settings: BackboneSettings, image: ImageInput) -> list[Problem]:
    """Return the settings that do not fit the network."""
    library = library_of(settings)
    try:
        with torch.device("meta"):
            model, _ = _built(library, settings.name, image)
    except JobError as error:
        return list(error.problems)
    stages = library.stages(settings.name, model, image)
    if problems := colour_misfits(settings.name, settings.weights, image):
        return problems
    if settings.frozen_stages != "all" and settings.frozen_stages > len(stages):
        cure = f"use at most {len(stages)}, or all" if stages else "use 0 or all"
        message = f"{settings.name} has {len(stages)} stages, fewer than {settings.frozen_stages}; {cure}"
        return [Problem(FROZEN, message)]
    return []


def stages(settings: BackboneSettings, image: ImageInput) -> tuple[Stage, ...]:
    """Return the stages of a backbone, of which each has maps of another size."""
    library = library_of(settings)
    with torch.device("meta"):
        model, _ = _built(library, settings.name, image)
    return library.stages(settings.name, model, image)


def notes(settings: BackboneSettings) -> list[str]:
    """Return what a plan says of a backbone."""
    source = f"backbone: {settings.name} of {settings.library}"
    if settings.weights == "none":
        norm = "group normalisation in place of batch normalisation, whose statistics would depend on the workers"
        return [f"{source} with random weights, and {norm}"]
    norm = "pictures are standardised as these need it, and batch statistics stay as they are"
    return [f"{source} with the weights {settings.weights}; {norm}"]
