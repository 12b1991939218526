"""A single linear layer."""

from collections.abc import Mapping

from torch import Tensor, nn

from stoker.architectures.heads import outputs
from stoker.architectures.inputs import Flat
from stoker.job.architecture.perceptron import Perceptron as PerceptronSettings
from stoker.job.signature import Signature


class Perceptron(nn.Module):
    """A linear map of the inputs; categories are embedded first."""

    def __init__(self, signature: Signature) -> None:
        super().__init__()
        self.flat = Flat(signature)
        self.output = nn.Linear(self.flat.width, outputs(signature))

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, outputs)."""
        result: Tensor = self.output(self.flat(inputs))
        return result


def build(settings: PerceptronSettings, signature: Signature) -> nn.Module:
    """Build the network."""
    return Perceptron(signature)
