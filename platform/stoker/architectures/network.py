"""From an `architecture` section to a network that fits the data: one module a family, found by its name."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from stoker.architectures import cnn, custom, gan, mlp, perceptron, rnn, unet
from stoker.errors import Problem
from stoker.job.architecture.choice import Architecture
from stoker.job.signature import Signature


def _as_it_is(settings: Any, signature: Signature, samples: int) -> Any:
    return settings


def _fits(settings: Any, signature: Signature) -> list[Problem]:
    return []


@dataclass(frozen=True)
class Family:
    """What a family's module offers; `settings` is always its own class of job.architecture."""

    build: Callable[[Any, Signature], nn.Module]
    """Make the network: `forward(inputs: Mapping[str, Tensor]) -> Tensor`, shapes as job.signature says."""
    with_sizes: Callable[[Any, Signature, int], Any] = _as_it_is
    """Fill in the sizes that the job leaves open, from the data's shape and number of training samples."""
    misfits: Callable[[Any, Signature], list[Problem]] = _fits
    """Return what of the settings does not fit the data's shape."""


FAMILIES: dict[str, Family] = {
    "perceptron": Family(perceptron.build),
    "mlp": Family(mlp.build, mlp.with_sizes),
    "cnn": Family(cnn.build, cnn.with_sizes, cnn.misfits),
    "unet": Family(unet.build, unet.with_sizes, unet.misfits),
    "rnn": Family(rnn.build, misfits=rnn.misfits),
    "gan": Family(gan.build, gan.with_sizes, gan.misfits),
    "custom": Family(custom.build),
}


def build_network(architecture: Architecture, signature: Signature) -> nn.Module:
    """Build a family's network."""
    return FAMILIES[architecture.family].build(architecture, signature)


def with_sizes(architecture: Architecture, signature: Signature, samples: int) -> Architecture:
    """Fill in the sizes that the job leaves open."""
    completed: Architecture = FAMILIES[architecture.family].with_sizes(architecture, signature, samples)
    return completed


def misfits(architecture: Architecture, signature: Signature) -> list[Problem]:
    """Return what of an architecture does not fit the data's shape."""
    return FAMILIES[architecture.family].misfits(architecture, signature)


def parameter_count(network: nn.Module) -> int:
    """Count the learnt numbers."""
    return sum(math.prod(parameter.shape) for parameter in network.parameters())
