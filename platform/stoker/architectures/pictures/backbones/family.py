"""The family `backbone`: a network of torchvision or timm with a new linear layer."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from stoker.architectures.heads import outputs
from stoker.architectures.inputs import only_one
from stoker.architectures.pictures.backbones import backbone, hosts
from stoker.architectures.pictures.backbones.backbone import Backbone, OnBackbone, rebuilt
from stoker.architectures.pictures.mirroring import answer
from stoker.errors import Problem
from stoker.job.architecture.backbone import BackboneClassifier
from stoker.job.signature import Signature


class Classifier(OnBackbone):
    """The features of a backbone, and a linear layer."""

    backbone: Backbone

    def __init__(self, settings: BackboneClassifier, signature: Signature, weighted: bool = True) -> None:
        super().__init__()
        self.name, shape = next(iter(signature.images.items()))
        self.mirrored = settings.mirrored
        self.backbone = Backbone(settings.backbone, shape, maps=False, weighted=weighted)
        self.dropout = nn.Dropout(settings.dropout) if settings.dropout else nn.Identity()
        self.output = nn.Linear(self.backbone.width, outputs(signature))

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, outputs) from an image (B, channels, height, width)."""
        return answer(self, self._outputs, inputs[self.name], self.mirrored)

    def _outputs(self, image: Tensor) -> Tensor:
        result: Tensor = self.output(self.dropout(self.backbone(image)))
        return result


def build(settings: BackboneClassifier, signature: Signature) -> nn.Module:
    """Build the network with the weights that it starts from."""
    return Classifier(settings, signature)


def rebuild(settings: BackboneClassifier, signature: Signature, saved: Path) -> nn.Module:
    """Build the network of a saved model."""
    return rebuilt(lambda weighted: Classifier(settings, signature, weighted), settings.backbone, saved)


def with_default_sizes(settings: BackboneClassifier, signature: Signature, samples: int) -> BackboneClassifier:
    """Pin the library and the weights."""
    pinned: BackboneClassifier = hosts.pinned(settings)
    return pinned


def misfits(settings: BackboneClassifier, signature: Signature) -> list[Problem]:
    """Return the settings that do not fit the number and size of the images."""
    return only_one("image", settings.family, signature) or backbone.misfits(settings.backbone, signature.image)
