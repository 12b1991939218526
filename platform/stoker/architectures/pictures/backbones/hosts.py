"""What the families have in common whose settings have a `backbone`, perhaps none."""

from typing import Any

from torch import Tensor
from torch.nn import functional

from stoker.architectures.pictures.backbones import backbone, sources
from stoker.errors import Problem
from stoker.job.architecture.backbone import Backbone as BackboneSettings
from stoker.job.dataset import Dataset, Normalization
from stoker.job.signature import ImageInput, Signature
from stoker.jobfile.backbone_names import NAME


def pinned(settings: Any) -> Any:
    """Return settings with the library and the weights of the backbone that the job leaves open."""
    if settings.backbone is None:
        return settings
    return settings.model_copy(update={"backbone": sources.pinned(settings.backbone)})


def unavailable(settings: Any, dataset: Dataset) -> list[Problem]:
    """Return what keeps the backbone from being built."""
    return sources.unavailable(settings.backbone) if settings.backbone else []


def notes(settings: Any, signature: Signature) -> list[str]:
    """Return where the backbone comes from, and that its last maps have a single place where pictures are small."""
    if not settings.backbone:
        return []
    found = backbone.notes(settings.backbone)
    image = signature.image
    stages = backbone.stages(settings.backbone, image)
    if stages and 2 * stages[-1].stride > min(image.height, image.width):
        stride = stages[-1].stride
        message = (
            f"pictures of {image.height}x{image.width} are small for {settings.backbone.name}, which makes one place"
        )
        found.append(
            f"{message} of {stride}x{stride} pixels; dataset.image.size: {4 * stride} or more keeps more of them"
        )
    return found


def normalization(settings: Any) -> Normalization | None:
    """Return how the backbone's weights need pictures to be standardised."""
    return sources.normalization(settings.backbone) if settings.backbone else None


def unused(settings: Any, *keys: str) -> list[Problem]:
    """Return the keys that are for a body without a backbone, and say something beside one."""
    fields = type(settings).model_fields
    return [
        Problem(f"architecture.{key}", "does nothing beside a backbone; leave one of them out")
        for key in keys
        if settings.backbone and getattr(settings, key) != fields[key].default
    ]


def padded(images: Tensor, multiple: int) -> Tensor:
    """Return images (B, channels, height, width) with zeros below and beside, so that all maps halve evenly."""
    height, width = images.shape[2:]
    return functional.pad(images, (0, -width % multiple, 0, -height % multiple))


def map_misfits(chosen: BackboneSettings, image: ImageInput, least: int = 2) -> list[Problem]:
    """Return what keeps a backbone from making maps, of at least so many sizes."""
    if problems := backbone.misfits(chosen, image):
        return problems
    if len(backbone.stages(chosen, image)) < least:
        several = "maps of several sizes" if least > 1 else "maps"
        message = f"{chosen.name} of {chosen.library} has no {several}; use a convolutional network"
        return [Problem(NAME, f"{message}, or one of timm's such as swin_tiny_patch4_window7_224")]
    return []
