"""A trained classifier of images, by whose features images are compared."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.datasets.fields.image import ImageField
from stoker.errors import JobError, Problem


class FeatureNetwork(nn.Module):
    """A classifier that also returns what its last layer sees.

    Args:
        classifier: of images; its last linear layer has an output for each class.
        image: the field that its images are standardised by.
        classes: that it knows.
        own: the field that the images to compare are standardised by.
        own_classes: of the images to compare, by number.

    Raises:
        JobError: no linear layer of the classifier has an output for each class, or it takes other channels.

    """

    def __init__(
        self,
        classifier: nn.Module,
        image: ImageField,
        classes: tuple[str, ...],
        own: ImageField,
        own_classes: tuple[str, ...],
    ) -> None:
        super().__init__()
        self.classifier = classifier.requires_grad_(False).eval()
        self._image, self._own = image, own
        layers = [each for each in classifier.modules() if isinstance(each, nn.Linear)]
        last = next((each for each in reversed(layers) if each.out_features == len(classes)), None)
        if last is None:
            raise JobError([_problem("the model's last layer is not a linear one with an output for each class")])
        if own.channels > image.channels:
            raise JobError([_problem(f"the model takes images of {image.channels} channel, not of {own.channels}")])
        last.register_forward_pre_hook(self._take)
        self._taken: Tensor | None = None
        known = {name: number for number, name in enumerate(classes)}
        places = [known[name] for name in own_classes if name in known]
        self.names_classes = bool(own_classes) and len(places) == len(own_classes)
        """Whether it knows all classes of the images to compare."""
        self._places = places
        self.width = last.in_features
        """Numbers of a feature."""
        self.facts: dict[str, Any] = {}
        """What it is rebuilt from beside its weights, and what is known of it."""
        self.training_features: Tensor | None = None
        """(N, width) features of training images; only on the first worker."""

    @torch.inference_mode()
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, width) features of standardised images, and the (B,) numbers of their classes; -1 for others."""
        pixels = _sized(self._own.pixels(images), self._image)
        logits = self.classifier({self._image.name: self._image.prepare(pixels)})
        assert self._taken is not None
        features, self._taken = self._taken, None
        chosen = logits.argmax(dim=1)
        numbers = torch.full_like(chosen, -1)
        for number, place in enumerate(self._places if self.names_classes else ()):
            numbers[chosen == place] = number
        return features.flatten(1).float(), numbers

    def _take(self, layer: nn.Module, inputs: tuple[Tensor]) -> None:
        self._taken = inputs[0]


def _sized(pixels: Tensor, image: ImageField) -> Tensor:
    """Return (B, height, width, channels) uint8 in the size and the channels of a field."""
    if pixels.shape[1:3] != (image.height, image.width):
        resized = functional.interpolate(
            pixels.permute(0, 3, 1, 2).float(), (image.height, image.width), mode="bilinear", antialias=True
        )
        pixels = resized.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    return pixels.repeat(1, 1, 1, image.channels // pixels.shape[3]) if pixels.shape[3] < image.channels else pixels


def _problem(message: str) -> Problem:
    return Problem("training.evaluate.features", f"{message}; name another run of image-classification")
