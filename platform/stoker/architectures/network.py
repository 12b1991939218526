"""Builds the network of an `architecture` section for the data: one module per family, found by its name."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from stoker.architectures import custom, mlp, perceptron
from stoker.architectures.generative import diffusion, gan, tabular_diffusion, vae
from stoker.architectures.pictures import (
    autoencoder,
    captioner,
    cnn,
    detector,
    feature_distance,
    torchvision_detector,
    unet,
    vit,
)
from stoker.architectures.pictures.backbones import family as backbone
from stoker.architectures.pictures.backbones import hosts
from stoker.architectures.pretrained import family as pretrained
from stoker.architectures.pretrained import misfits as pretrained_misfits
from stoker.architectures.texts import rnn, transformer
from stoker.errors import Problem
from stoker.job.architecture.choice import Architecture
from stoker.job.dataset import Dataset, Normalization
from stoker.job.signature import Signature
from stoker.job.training import Optimizer


def _unchanged(settings: Any, signature: Signature, samples: int) -> Any:
    return settings


def _as_it_is(settings: Any, start: Path) -> Any:
    return settings


def _no_problems(settings: Any, signature: Signature) -> list[Problem]:
    return []


def _no_notes(settings: Any, signature: Signature) -> list[str]:
    return []


def _as_the_data(settings: Any) -> Normalization | None:
    return None


def _as_the_job(settings: Any) -> dict[str, Optimizer] | None:
    return None


def _available(settings: Any, dataset: Dataset) -> list[Problem]:
    return []


@dataclass(frozen=True)
class Family:
    """Functions of a family's module; `settings` is always its own class of job.architecture."""

    build: Callable[[Any, Signature], nn.Module]
    """Build the network: `forward(inputs: Mapping[str, Tensor]) -> Tensor`, with the shapes of job.signature."""
    with_default_sizes: Callable[[Any, Signature, int], Any] = _unchanged
    """Fill in the sizes that the job leaves open, from the data's shapes and number of training samples."""
    misfits: Callable[[Any, Signature], list[Problem]] = _no_problems
    """Return the settings that do not fit the data's shapes."""
    unavailable: Callable[[Any, Dataset], list[Problem]] = _available
    """Return what the network needs beside the data and does not find; called before the data is read."""
    rebuild: Callable[[Any, Signature, Path], nn.Module] | None = None
    """Build the network of a saved model, given its folder, where `build` would need more than its settings."""
    notes: Callable[[Any, Signature], list[str]] = _no_notes
    """Return what a plan says of the network beside its layers."""
    normalization: Callable[[Any], Normalization | None] = _as_the_data
    """Return how the network's weights need pictures to be standardised; None where the data decides."""
    with_start: Callable[[Any, Path], Any] = _as_it_is
    """Fill in what follows from the saved model that training starts from, given its folder."""
    optimizers: Callable[[Any], dict[str, Optimizer] | None] = _as_the_job
    """Return the optimizers of the network's groups for a job that sets none; None where one fits all."""
    average: float | None = None
    """Share of the average of the weights that each step keeps, for a job that sets none; None where none is taken."""


def _on_backbone(module: Any) -> Family:
    """Return the family of a module whose settings have a `backbone`."""
    return Family(
        module.build,
        module.with_default_sizes,
        module.misfits,
        hosts.unavailable,
        module.rebuild,
        hosts.notes,
        hosts.normalization,
    )


FAMILIES: dict[str, Family] = {
    "perceptron": Family(perceptron.build),
    "mlp": Family(mlp.build, mlp.with_default_sizes),
    "cnn": Family(cnn.build, cnn.with_default_sizes, cnn.misfits),
    "unet": _on_backbone(unet),
    "detector": _on_backbone(detector),
    "torchvision-detector": Family(
        torchvision_detector.build,
        torchvision_detector.with_default_sizes,
        torchvision_detector.misfits,
        torchvision_detector.unavailable,
        torchvision_detector.rebuild,
        torchvision_detector.notes,
        torchvision_detector.normalization,
    ),
    "vit": Family(vit.build, vit.with_default_sizes, vit.misfits),
    "backbone": _on_backbone(backbone),
    "autoencoder": Family(autoencoder.build, autoencoder.with_default_sizes, autoencoder.misfits),
    "feature-distance": replace(_on_backbone(feature_distance), notes=feature_distance.notes),
    "captioner": _on_backbone(captioner),
    "rnn": Family(rnn.build, rnn.with_default_sizes, rnn.misfits),
    "transformer": Family(transformer.build, transformer.with_default_sizes, transformer.misfits),
    "pretrained": Family(
        pretrained.build,
        pretrained.with_default_sizes,
        pretrained_misfits.misfits,
        pretrained.unavailable,
        pretrained.rebuild,
        pretrained.notes,
    ),
    "gan": Family(gan.build, gan.with_default_sizes, gan.misfits, optimizers=gan.optimizers),
    "vae": Family(vae.build, vae.with_default_sizes, vae.misfits, normalization=vae.normalization),
    "diffusion": Family(
        diffusion.build,
        diffusion.with_default_sizes,
        diffusion.misfits,
        with_start=diffusion.with_start,
        average=diffusion.AVERAGE,
        normalization=diffusion.normalization,
    ),
    "tabular-diffusion": Family(tabular_diffusion.build, tabular_diffusion.with_default_sizes),
    "custom": Family(custom.build),
}


def build_network(architecture: Architecture, signature: Signature) -> nn.Module:
    """Build a family's network."""
    return FAMILIES[architecture.family].build(architecture, signature)


def rebuild_network(architecture: Architecture, signature: Signature, saved: Path) -> nn.Module:
    """Build the network of a saved model; its weights are not loaded yet."""
    family = FAMILIES[architecture.family]
    return family.rebuild(architecture, signature, saved) if family.rebuild else family.build(architecture, signature)


def with_default_sizes(architecture: Architecture, signature: Signature, samples: int) -> Architecture:
    """Fill in the sizes that the job leaves open."""
    completed: Architecture = FAMILIES[architecture.family].with_default_sizes(architecture, signature, samples)
    return completed


def with_start(architecture: Architecture, start: Path | None) -> Architecture:
    """Fill in what follows from the saved model that training starts from, if there is one."""
    if start is None:
        return architecture
    completed: Architecture = FAMILIES[architecture.family].with_start(architecture, start)
    return completed


def misfits(architecture: Architecture, signature: Signature) -> list[Problem]:
    """Return the settings that do not fit the data's shapes."""
    return FAMILIES[architecture.family].misfits(architecture, signature)


def unavailable(architecture: Architecture, dataset: Dataset) -> list[Problem]:
    """Return what the network needs beside the data and does not find, such as files of a pretrained model."""
    return FAMILIES[architecture.family].unavailable(architecture, dataset)


def network_notes(architecture: Architecture, signature: Signature) -> list[str]:
    """Return what a plan says of a network beside its layers."""
    return FAMILIES[architecture.family].notes(architecture, signature)


def normalization(architecture: Architecture) -> Normalization | None:
    """Return how a network's weights need pictures to be standardised; None where the data decides."""
    return FAMILIES[architecture.family].normalization(architecture)


def default_optimizers(architecture: Architecture) -> dict[str, Optimizer] | None:
    """Return the optimizers of the network's groups for a job that sets none; None where one fits all."""
    return FAMILIES[architecture.family].optimizers(architecture)


def default_average(architecture: Architecture) -> float | None:
    """Return the share of the average of the weights that each step keeps for a job that sets none; or None."""
    return FAMILIES[architecture.family].average


def parameter_count(network: nn.Module) -> int:
    """Count the parameters."""
    return sum(math.prod(parameter.shape) for parameter in network.parameters())


def trained_count(network: nn.Module) -> int:
    """Count the parameters that training changes."""
    return sum(math.prod(parameter.shape) for parameter in network.parameters() if parameter.requires_grad)
