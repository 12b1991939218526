"""Settings of `torchvision-detector`."""

from typing import Literal

from pydantic import Field

from stoker.job.architecture.detector import Limited


class TorchvisionDetector(Limited):
    """A detector of torchvision on a ResNet with a feature pyramid, such as to tune one that was trained on COCO.

    Those of torchvision that draw proposals at random while training, such as Faster R-CNN, are not here: their results
    would depend on the number of workers.
    """

    family: Literal["torchvision-detector"]
    """The network family."""

    model: Literal["fcos", "retinanet", "retinanet-v2"] = "fcos"
    """The detector: FCOS (Tian et al. 2019), RetinaNet (Lin et al. 2017), or torchvision's improved one."""

    resnet: Literal["resnet18", "resnet34", "resnet50", "resnet101"] = "resnet50"
    """The network that makes the maps; torchvision has weights of COCO for `resnet50`."""

    weights: str = Field("none", min_length=1)
    """The weights at the start: `none` for random ones, a file of them (.pt, .pth or .safetensors), or `default` for
    those of COCO, which are downloaded once. The layer of the classes is new where their number differs."""

    frozen_stages: int = Field(0, ge=0, le=5)
    """Number of first stages of the ResNet that are not trained; the stem is the first one."""

    width: int = Field(256, ge=64, le=1024, multiple_of=32)
    """Channels of the pyramid and of the towers; weights of COCO have 256."""
