"""Detectors of torchvision with their own losses, which are taken picture by picture."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.architectures.heads import outputs
from stoker.architectures.inputs import only_one
from stoker.architectures.pictures.backbones.normalisation import keep_statistics, with_group_norm
from stoker.architectures.pictures.backbones.sources import (
    COLOURS,
    colour_misfits,
    downloaded,
    is_file,
    pinned_weights,
    unavailable_weights,
)
from stoker.architectures.pictures.backbones.torchvision_models import USUAL, Torchvision, with_channels
from stoker.architectures.pictures.backbones.weight_files import fill, read_weights, without_prefix
from stoker.errors import Problem
from stoker.job.architecture.torchvision_detector import TorchvisionDetector as DetectorSettings
from stoker.job.dataset import Dataset, Normalization
from stoker.job.signature import Signature

WEIGHTS = "architecture.weights"
STAGES = (("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",))
MAPS = {"layer2": "0", "layer3": "1", "layer4": "2"}
NAMES = {
    "fcos": "fcos_resnet50_fpn",
    "retinanet": "retinanet_resnet50_fpn",
    "retinanet-v2": "retinanet_resnet50_fpn_v2",
}
"""By which torchvision knows the weights of COCO."""
OF_COCO = "resnet50"
OF_CLASSES = "head.classification_head.cls_logits."
LIBRARY = Torchvision()


class TorchvisionDetector(nn.Module):
    """FCOS or RetinaNet; what a picture loses and shows depends on this picture alone."""

    threshold: Tensor
    """Logit from where on a box is believed: chosen after training, by the validation part."""

    def __init__(self, settings: DetectorSettings, signature: Signature, weighted: bool = True) -> None:
        super().__init__()
        self.name, shape = next(iter(signature.images.items()))
        self.score, self.overlap, self.most = settings.score, settings.overlap, settings.most
        self.register_buffer("threshold", torch.zeros(()))
        self.model = _built(settings, outputs(signature))
        body: Any = self.model.backbone.body
        if shape.channels != COLOURS:
            body.conv1 = with_channels(body.conv1, shape.channels)
        self._has_statistics = settings.weights != "none"
        if not self._has_statistics:
            with_group_norm(self.model)
        elif weighted and torch.get_default_device().type != "meta":
            _load(self.model, settings)
        for names in STAGES[: settings.frozen_stages]:
            for name in names:
                getattr(body, name).requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> "TorchvisionDetector":
        """Set the mode; statistics of batches that came with the weights stay as they are."""
        super().train(mode)
        if self._has_statistics:
            keep_statistics(self)
        return self

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return proposals (B, cells, 6 + classes) for an image, as job.signature says of boxes."""
        return self._proposals(inputs[self.name], *self._found(inputs[self.name])[:2])

    def box_losses(self, inputs: Mapping[str, Tensor], target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the proposals, and of each picture the loss of the classes and that of the boxes, all as (B, ...).

        Args:
            inputs: with the image.
            target: (B, most, 5) true boxes, as job.signature says of them.

        """
        image = inputs[self.name]
        found, anchors, per_level = self._found(image)
        height, width = image.shape[2:]
        by_level = (per_level,) if hasattr(self.model, "center_sampling_radius") else ()
        classes, boxes = [], []
        for row, true in enumerate(target):
            there = true[true[:, 0] > 0]
            wanted = {"labels": there[:, 0].long() - 1, "boxes": there[:, 1:] * image.new_tensor([width, height] * 2)}
            mine = {name: each[row : row + 1].float() for name, each in found.items()}
            losses = self.model.compute_loss([wanted], mine, [anchors], *by_level)
            classes.append(losses.pop("classification"))
            boxes.append(sum(losses.values()))
        nothing = found["cls_logits"].flatten(1).sum(dim=1)
        with torch.no_grad():  # the losses are not those of the proposals
            proposals = self._proposals(image, found, anchors)
        return (
            proposals,
            torch.stack(classes) if classes else nothing,
            torch.stack(boxes) if boxes else nothing,
        )

    def _found(self, image: Tensor) -> tuple[dict[str, Tensor], Tensor, list[int]]:
        """Return what the head says of each place, (B, places, ...), the places' boxes, and how many a level has."""
        from torchvision.models.detection.image_list import ImageList

        maps = list(self.model.backbone(image).values())
        one = ImageList(image[:1], [tuple(image.shape[2:])])
        (anchors,) = self.model.anchor_generator(one, maps)
        found: dict[str, Tensor] = self.model.head(maps)
        return found, anchors.float(), [each.shape[2] * each.shape[3] for each in maps]

    def _proposals(self, image: Tensor, found: Mapping[str, Tensor], anchors: Tensor) -> Tensor:
        height, width = image.shape[2:]
        sides = anchors.new_tensor([width, height] * 2)
        shifts, logits = found["bbox_regression"].float(), found["cls_logits"].float()
        rows = len(shifts)
        if "bbox_ctrness" in found:
            boxes = self.model.box_coder.decode(shifts, anchors.expand(rows, -1, -1))
            both = functional.logsigmoid(logits) + functional.logsigmoid(found["bbox_ctrness"].float())
            score = (both / 2).exp().clamp(max=1 - torch.finfo(torch.float32).eps)
            logits = torch.log(score.clamp(min=torch.finfo(torch.float32).tiny)) - torch.log1p(-score)
        else:
            flat = self.model.box_coder.decode_single(shifts.flatten(0, 1), anchors.repeat(rows, 1))
            boxes = flat.unflatten(0, (rows, -1))
        places = ((anchors[:, :2] + anchors[:, 2:]) / 2 / sides[:2]).expand(rows, -1, -1)
        return torch.cat([places, boxes / sides, logits], dim=2)


def _built(settings: DetectorSettings, classes: int) -> Any:
    """Return the detector with random weights, as torchvision puts it together."""
    from torchvision import models
    from torchvision.models import detection
    from torchvision.models.detection.backbone_utils import BackboneWithFPN
    from torchvision.models.detection.retinanet import RetinaNetHead
    from torchvision.ops.feature_pyramid_network import LastLevelP6P7

    resnet = models.get_model(settings.resnet, weights=None)
    last = resnet.fc.in_features
    widths = [last // 4, last // 2, last]
    is_second = settings.model == "retinanet-v2"
    coarser = LastLevelP6P7(last if is_second else settings.width, settings.width)
    body = BackboneWithFPN(resnet, MAPS, widths, settings.width, coarser)
    if settings.model == "fcos":
        return detection.FCOS(body, classes)
    if not is_second:
        return detection.RetinaNet(body, classes)
    usual = detection.RetinaNet(body, classes).anchor_generator
    anchors = usual.num_anchors_per_location()[0]
    head = RetinaNetHead(settings.width, anchors, classes, norm_layer=partial(nn.GroupNorm, 32))
    head.regression_head._loss_type = "giou"
    return detection.RetinaNet(body, classes, anchor_generator=usual, head=head)


def _load(model: nn.Module, settings: DetectorSettings) -> None:
    file = downloaded(LIBRARY, NAMES[settings.model], settings.weights)
    own = model.state_dict()
    given = without_prefix(read_weights(file, WEIGHTS), list(own))
    for name in [name for name in own if name.startswith(OF_CLASSES)]:
        if name in given and given[name].shape != own[name].shape:
            given[name] = own[name]
    fill(model, given, str(file), f"{settings.model} on {settings.resnet}", WEIGHTS)


def build(settings: DetectorSettings, signature: Signature) -> nn.Module:
    """Build the network with the weights that it starts from."""
    return TorchvisionDetector(settings, signature)


def rebuild(settings: DetectorSettings, signature: Signature, saved: Path) -> nn.Module:
    """Build the network of a saved model, whose own weights are still to be loaded."""
    return TorchvisionDetector(settings, signature, weighted=False)


def with_default_sizes(settings: DetectorSettings, signature: Signature, samples: int) -> DetectorSettings:
    """Pin the weights."""
    pinned = pinned_weights(LIBRARY, NAMES[settings.model], settings.weights)
    return settings.model_copy(update={"weights": pinned})


def unavailable(settings: DetectorSettings, dataset: Dataset) -> list[Problem]:
    """Return what keeps the weights from being read."""
    if settings.weights != "none" and not is_file(settings.weights) and settings.resnet != OF_COCO:
        cure = f"use {OF_COCO}, name a file, or write none"
        return [Problem(WEIGHTS, f"torchvision has no weights of {settings.model} on {settings.resnet}; {cure}")]
    return unavailable_weights(LIBRARY, NAMES[settings.model], settings.weights, WEIGHTS)


def notes(settings: DetectorSettings, signature: Signature) -> list[str]:
    """Return where the weights come from."""
    if settings.weights == "none":
        return [f"{settings.model} of torchvision with random weights, and group normalisation in {settings.resnet}"]
    return [f"{settings.model} of torchvision with the weights {settings.weights}; batch statistics stay as they are"]


def normalization(settings: DetectorSettings) -> Normalization | None:
    """Return how the weights need pictures to be standardised."""
    return None if settings.weights == "none" else USUAL


def misfits(settings: DetectorSettings, signature: Signature) -> list[Problem]:
    """Return the settings that do not fit the images."""
    if problems := only_one("image", settings.family, signature):
        return problems
    return colour_misfits(settings.model, settings.weights, signature.image)
