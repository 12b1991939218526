"""A multi-layer perceptron."""

from collections.abc import Mapping
from itertools import pairwise

from torch import Tensor, nn

from stoker.architectures.heads import outputs
from stoker.architectures.inputs import Flat
from stoker.architectures.layers import ACTIVATIONS
from stoker.job.architecture.mlp import Mlp as MlpSettings
from stoker.job.signature import Signature

MANY_SAMPLES = 5_000


class Mlp(nn.Module):
    """Linear layers with an activation and optional dropout between them."""

    def __init__(self, settings: MlpSettings, signature: Signature) -> None:
        super().__init__()
        assert settings.hidden is not None
        self.flat = Flat(signature)
        widths = [self.flat.width, *settings.hidden]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), ACTIVATIONS[settings.activation]()]
            if settings.dropout:
                layers.append(nn.Dropout(settings.dropout))
        self.hidden = nn.Sequential(*layers)
        self.output = nn.Linear(widths[-1], outputs(signature))

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, outputs)."""
        result: Tensor = self.output(self.hidden(self.flat(inputs)))
        return result


def build(settings: MlpSettings, signature: Signature) -> nn.Module:
    """Build the network."""
    return Mlp(settings, signature)


def with_default_sizes(settings: MlpSettings, signature: Signature, samples: int) -> MlpSettings:
    """Choose two layers, wider for images and for many samples, unless the job sets them."""
    if settings.hidden is not None:
        return settings
    wide = samples >= MANY_SAMPLES or bool(signature.images)
    return settings.model_copy(update={"hidden": (256, 128) if wide else (128, 64)})
