"""From an `architecture` section to a network that fits the data: one module a family, chosen here."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from stoker.architectures import cnn, custom, mlp, perceptron
from stoker.errors import Problem
from stoker.job.architecture.choice import Architecture
from stoker.job.architecture.cnn import Cnn
from stoker.job.architecture.custom import Custom
from stoker.job.architecture.mlp import Mlp
from stoker.job.architecture.perceptron import Perceptron
from stoker.job.signature import ImageInput, Signature, TableInput


def build_network(architecture: Architecture, signature: Signature) -> nn.Module:
    """Build a family's network: `forward(inputs: Mapping[str, Tensor]) -> Tensor`, shapes as job.signature says."""
    match architecture:
        case Perceptron():
            return perceptron.Perceptron(signature)
        case Mlp():
            return mlp.Mlp(architecture, signature)
        case Cnn():
            return cnn.Cnn(architecture, signature)
        case Custom():
            return custom.build(architecture, signature)


def with_sizes(architecture: Architecture, signature: Signature, samples: int) -> Architecture:
    """Fill in the sizes that the job leaves open, from the data's shape and number of training samples."""
    match architecture:
        case Mlp(hidden=None):
            return architecture.model_copy(update={"hidden": mlp.default_hidden(signature, samples)})
        case Cnn(channels=None):
            assert isinstance(signature.input, ImageInput)
            return architecture.model_copy(update={"channels": cnn.default_channels(signature.input)})
    return architecture


def misfits(architecture: Architecture, signature: Signature) -> list[Problem]:
    """Say what of an architecture does not fit the data's shape."""
    if isinstance(architecture, Cnn) and isinstance(signature.input, ImageInput):
        return cnn.misfits(architecture, signature.input)
    return []


def example_inputs(signature: Signature, samples: int, device: str) -> Mapping[str, Tensor]:
    """Make zeros that look like a batch."""
    match signature.input:
        case TableInput(numbers, categories):
            return {
                "numbers": torch.zeros(samples, numbers, device=device),
                "categories": torch.zeros(samples, len(categories), dtype=torch.int64, device=device),
            }
        case ImageInput(channels, height, width):
            return {"image": torch.zeros(samples, channels, height, width, device=device)}


def parameter_count(network: nn.Module) -> int:
    """Count the learnt numbers."""
    return sum(math.prod(parameter.shape) for parameter in network.parameters())
