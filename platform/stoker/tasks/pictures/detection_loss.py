"""What a network that finds objects minimises."""

import math
from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from stoker.tasks.abilities import CanFind
from stoker.tasks.objective import BatchLike, Count, Loss, NoiseLike, OneNetwork, weighted_count
from stoker.tasks.pictures.assignment import assign
from stoker.tasks.pictures.average_precision import FoundBoxes
from stoker.tasks.pictures.box_matches import best_score
from stoker.tasks.pictures.detections import EVALUATED, detections

NEGATIVE_WEIGHT, FOCUS = 0.75, 2.0
"""Weight of cells that see nothing, and how much more those with a high score count (alpha and gamma of Zhang et al.
2021, VarifocalNet)."""
BOX_WEIGHT = 2.0
LOOKED_AT = 500
"""Pictures are enough to choose a score by."""
UNIT = 1000.0
"""Sides are compared in thousandths of the image's: torchvision adds a constant to areas, which must be small."""


class BoxLosses(OneNetwork):
    """The varifocal loss of the classes, and one minus the complete overlap of the boxes (Zheng et al. 2020).

    Both are divided by the number of true boxes; an image without any counts as one.

    Args:
        network: returns proposals (B, cells, 6 + classes).

    """

    def counts(self, batch: BatchLike, turn: str) -> dict[str, Count]:
        """Count true boxes; an image's weight goes for all of its own."""
        boxes = (batch.target[..., 0] > 0).sum(dim=1).clamp(min=1).float()
        count = boxes.sum() if batch.weight is None else (boxes * batch.weight).sum()
        return {"class": count, "box": count}

    def forward(self, batch: BatchLike, turn: str, noise: NoiseLike) -> dict[str, Tensor]:
        """Return both terms."""
        return self._sums(batch)[1]

    def evaluate(self, batch: BatchLike, noise: NoiseLike) -> tuple[dict[str, Loss], Tensor | None]:
        """Return both terms, and the boxes that are found, also those with a low score."""
        output, sums = self._sums(batch)
        counts = self.counts(batch, "network")
        losses = {term: Loss(total, counts[term]) for term, total in sums.items()}
        return losses, detections(self.network, output.float(), EVALUATED)

    def before_evaluation(self, part: Callable[[str], Iterable[BatchLike]]) -> None:
        """Give a score of 0.5 to boxes from where on the F1 of the validation part is best."""
        threshold = getattr(self.network, "threshold", None)
        if not isinstance(threshold, Tensor):
            return
        threshold.zero_()
        boxes = FoundBoxes()
        for batch in part("val"):
            boxes.add(detections(self.network, self.network(batch.inputs).float(), EVALUATED), batch.target)
            if len(boxes.pictures) >= LOOKED_AT:
                break
        score = best_score(boxes.pictures)
        if not math.isnan(score):
            threshold.fill_(math.log(score / (1 - score)))

    def _sums(self, batch: BatchLike) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the network's output, and both terms."""
        output, classes, boxes = self._losses(batch)
        if batch.weight is not None:
            classes, boxes = classes * batch.weight, boxes * batch.weight
        return output, {"class": classes.sum(), "box": boxes.sum()}

    def _losses(self, batch: BatchLike) -> tuple[Tensor, Tensor, Tensor]:
        """Return the network's output, and (B,) losses of the classes and of the boxes."""
        output: Tensor = self.network(batch.inputs)
        return output, *box_losses(output.float(), batch.target)


class OwnBoxLosses(BoxLosses):
    """The losses that a network has of its own, each of one image; they are divided by the number of images."""

    def counts(self, batch: BatchLike, turn: str) -> dict[str, Count]:
        """Count images, or their weights."""
        count = weighted_count(batch)
        return {"class": count, "box": count}

    def _losses(self, batch: BatchLike) -> tuple[Tensor, Tensor, Tensor]:
        return cast("CanFind", self.network).box_losses(batch.inputs, batch.target)


def box_losses(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss of the classes and that of the boxes, both (B,) sums.

    Args:
        output: (B, cells, 6 + classes) proposals.
        target: (B, most, 5) true boxes: class, counted from 1, and left, upper, right and lower side; padded with 0.

    """
    from torchvision.ops import complete_box_iou_loss  # here, since served models of other tasks do without

    found = assign(output.detach(), target)
    true = target.gather(1, found.box.unsqueeze(2).expand(-1, -1, target.shape[2]))
    logits = output[..., 6:]
    classes = torch.arange(1, logits.shape[2] + 1, device=target.device)
    wanted = found.quality.unsqueeze(2) * (true[..., :1] == classes)
    weights = torch.where(wanted > 0, wanted, NEGATIVE_WEIGHT * logits.detach().sigmoid() ** FOCUS)
    entropy = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    rows, cells = torch.nonzero(found.quality, as_tuple=True)
    apart = complete_box_iou_loss(output[rows, cells, 2:6] * UNIT, true[rows, cells, 1:] * UNIT)
    boxes = torch.zeros(len(output), device=output.device).index_add(0, rows, apart * found.quality[rows, cells])
    return (entropy * weights).sum(dim=(1, 2)), BOX_WEIGHT * boxes
