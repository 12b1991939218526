"""A class for each pixel of an image."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.datasets.fields.mask import MaskField
from stoker.datasets.records import Records
from stoker.job.signature import IGNORED
from stoker.job.training import Training
from stoker.randomness import PerSampleNoise
from stoker.tasks.abilities import can_decode
from stoker.tasks.classification.classification import confusion_figure, weight_of_classes
from stoker.tasks.metrics import Metrics, Shown, Worst
from stoker.tasks.objective import BatchLike, Count, Loss, NoiseLike, Objective
from stoker.tasks.pictures.annotation import coloured
from stoker.tasks.sheet import Picture, Sheet
from stoker.tasks.task import Answers, Review, Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SMOOTH = 1.0
"""Pixels added to both sides of the Dice fraction, so that it is defined where a class is absent."""
GREY = 128
"""Of pixels without a class in a drawn mask."""


class PixelLosses(Objective):
    """Cross-entropy of the pixels, and the soft Dice loss of each image (Milletari 2016); both count the same.

    Weights of classes and label smoothing are for the cross-entropy alone: Dice is a mean over the classes already.

    Args:
        network: returns (B, classes, height, width) logits.
        class_weights: (classes,) weight of a pixel by its class; None where all weigh 1.
        smoothing: share of each label that is spread over all classes.
        ignores: whether targets may be IGNORED.

    """

    class_weights: Tensor | None

    def __init__(
        self,
        network: nn.Module,
        class_weights: Tensor | None = None,
        smoothing: float = 0.0,
        ignores: bool = False,
    ) -> None:
        super().__init__()
        self._ignores = ignores
        self.network = network
        self.register_buffer("class_weights", class_weights, persistent=False)
        self._smoothing = smoothing

    def counts(self, batch: BatchLike, turn: str) -> dict[str, Count]:
        """Count pixels for the cross-entropy, images for Dice; an image's weight goes for all its pixels."""
        images: Count = float(len(batch)) if batch.weight is None else batch.weight.sum()
        pixels = images * batch.target[0:1].numel() if len(batch) else images
        if self._ignores or self.class_weights is not None:
            weights = weight_of_pixels(batch.target, self.class_weights).sum(dim=(1, 2))
            pixels = (weights if batch.weight is None else weights * batch.weight).sum()
        return {"cross_entropy": pixels, "soft_dice": images}

    def forward(self, batch: BatchLike, turn: str, noise: NoiseLike) -> dict[str, Tensor]:
        """Return both terms."""
        return self._sums(self.network(batch.inputs), batch)

    def turns(self, step: int) -> Sequence[str]:
        """Step the network."""
        return ("network",)

    def groups(self) -> dict[str, nn.Module]:
        """Return one group: all of the network."""
        return {"network": self.network}

    def evaluate(self, batch: BatchLike, noise: NoiseLike) -> tuple[dict[str, Loss], Tensor | None]:
        """Return both terms of the logits, or of what the network decodes."""
        network = self.network
        output = network.decode(batch.inputs, noise) if can_decode(network) else network(batch.inputs)
        counts = self.counts(batch, "network")
        losses = {term: Loss(total, counts[term]) for term, total in self._sums(output, batch).items()}
        return losses, output

    def _sums(self, output: Tensor, batch: BatchLike) -> dict[str, Tensor]:
        entropy, dice = pixel_losses(output.float(), batch.target, self.class_weights, self._smoothing, self._ignores)
        if batch.weight is not None:
            entropy, dice = entropy * batch.weight, dice * batch.weight
        return {"cross_entropy": entropy.sum(), "soft_dice": dice.sum()}


def weight_of_pixels(target: Tensor, class_weights: Tensor | None) -> Tensor:
    """Return (B, height, width) weights of pixels in the cross-entropy, 0 where they are ignored."""
    known = target != IGNORED
    if class_weights is None:
        return known.float()
    return class_weights[torch.where(known, target, 0).long()] * known


def pixel_losses(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    smoothing: float = 0.0,
    ignores: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy summed over pixels, and one minus the soft Dice over the foreground classes, both (B,).

    Args:
        logits: (B, classes, height, width).
        target: (B, height, width) class numbers; 0 is the background.
        class_weights: (classes,) weight of each pixel's cross-entropy by its class; None where all weigh 1.
        smoothing: share of each label that is spread over all classes in the cross-entropy.
        ignores: whether targets may be IGNORED; such pixels are in neither.

    """
    known = target != IGNORED if ignores else None
    places = target.long() if known is None else torch.where(known, target, 0).long()
    log_shares = functional.log_softmax(logits, dim=1)
    pixels = functional.nll_loss(log_shares, places, reduction="none")
    if smoothing:
        pixels = (1 - smoothing) * pixels - smoothing * log_shares.mean(dim=1)
    if ignores or class_weights is not None:
        pixels = pixels * weight_of_pixels(target, class_weights)
    entropy = pixels.sum(dim=(1, 2))
    shares = log_shares.exp()
    true = functional.one_hot(places, logits.shape[1]).movedim(-1, 1).to(shares.dtype)
    if known is not None:
        shares, true = shares * known.unsqueeze(1), true * known.unsqueeze(1)
    both = (shares * true).sum(dim=(2, 3))
    either = shares.sum(dim=(2, 3)) + true.sum(dim=(2, 3))
    dice = (2 * both + SMOOTH) / (either + SMOOTH)
    return entropy, 1 - dice[:, 1:].mean(dim=1)


class Segmentation(Task):
    """A class for each pixel."""

    def objective(self, network: nn.Module, training: Training) -> Objective:
        """Minimise cross-entropy and Dice."""
        weights = weight_of_classes(training, self.fields.signature.classes)
        return PixelLosses(network, weights, training.label_smoothing, self.mask.ignored is not None)

    def metrics(self, samples: int) -> Metrics:
        """Dice over the foreground classes, IoU over all classes, and the share of right pixels."""
        return PixelCounts(len(self.fields.signature.classes))

    def review(self) -> Review:
        """Gather the confusion matrix of pixels, and the images with the largest loss."""
        return MaskReview(self.mask)

    def show(self, network: nn.Module, few: BatchLike, seed: int) -> Sheet:
        """Return each image beside its mask and the predicted one, as the review draws them."""
        review = self.review()
        noise = PerSampleNoise((seed, "shown"), range(len(few)))
        review.update(self.outputs(network, few.inputs, noise).float(), few, torch.arange(len(few)))
        images = self.fields.image.pixels(next(iter(few.inputs.values()))).cpu().numpy()
        drawn = {
            shown.id: Picture((images[shown.id], *review.drawn(shown)), row["prediction"])
            for shown, row in zip(review.shown(), review.rows(), strict=True)
        }
        return Sheet("predicted", tuple(drawn[i] for i in sorted(drawn)), images=("image", "truth", "prediction"))

    def answers(self, outputs: Tensor, records: Records) -> Answers:
        """Return the masks in the values of the training masks, and the share of pixels of each class."""
        places = outputs.argmax(dim=1)
        classes = self.fields.signature.classes
        shares = {
            f"share/{name}": (places == number).float().mean(dim=(1, 2)).numpy() for number, name in enumerate(classes)
        }
        return Answers(pd.DataFrame(shares), self.mask.pixels(places), self.mask.palette)

    def annotated(self, picture: np.ndarray, answer: Mapping[str, Any], image: np.ndarray | None) -> np.ndarray:
        """Draw the predicted mask over the picture, a colour for each class but the first one."""
        assert image is not None
        return coloured(picture, self.mask.places(image))

    @property
    def mask(self) -> MaskField:
        """The field that is predicted."""
        assert isinstance(self.fields.target, MaskField)
        return self.fields.target


class PixelCounts(Metrics):
    """How many pixels of each class (row) were taken for each class (column): all that these metrics need."""

    def __init__(self, classes: int) -> None:
        self.counts = torch.zeros(classes, classes, dtype=torch.int64)

    def update(self, output: Tensor, batch: BatchLike) -> None:
        """Take in (B, classes, height, width) logits, and (B, height, width) class numbers as the target."""
        self.add(output.argmax(dim=1), batch.target)

    def add(self, predicted: Tensor, true: Tensor) -> None:
        """Count pairs of class numbers, both (B, height, width), where the true one is known."""
        classes = len(self.counts)
        known = true != IGNORED
        pairs = true[known].long() * classes + predicted[known].long()
        self.counts += torch.bincount(pairs, minlength=classes**2).view(classes, classes).cpu()

    def state(self) -> Tensor:
        """Return the counts."""
        return self.counts

    def merge(self, state: Tensor) -> None:
        """Add another worker's counts."""
        self.counts += state

    def compute(self) -> dict[str, float]:
        """Return dice, iou and accuracy; a class that is nowhere counts for none of them."""
        dice, iou = self.by_class()
        return {
            "dice": float(dice[1:].nanmean()),
            "iou": float(iou.nanmean()),
            "accuracy": float(self.counts.diagonal().sum() / self.counts.sum().double()),
        }

    def by_class(self) -> tuple[Tensor, Tensor]:
        """Return (classes,) Dice and IoU, not a number for a class that is nowhere."""
        counts = self.counts.double()
        right, true, predicted = counts.diagonal(), counts.sum(dim=1), counts.sum(dim=0)
        return 2 * right / (true + predicted), right / (true + predicted - right)


def class_figure(pixels: PixelCounts, names: Sequence[str]) -> "Figure":
    """Draw a table of each class: its share of the pixels, Dice and IoU."""
    from matplotlib.figure import Figure

    dice, iou = pixels.by_class()
    shares = pixels.counts.sum(dim=1).double() / pixels.counts.sum()
    figure = Figure(figsize=(6, 1 + 0.3 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    axes.set_axis_off()
    rows = [[f"{float(value):.3f}" for value in each] for each in zip(shares, dice, iou, strict=True)]
    axes.table(rows, rowLabels=list(names), colLabels=["share of pixels", "Dice", "IoU"], loc="center")
    axes.set_title(f"Classes, mean IoU {float(iou.nanmean()):.3f}")
    return figure


class MaskReview(Review):
    """Pixels by class, and the images with the largest loss."""

    def __init__(self, mask: MaskField) -> None:
        self._mask = mask
        self._pixels = PixelCounts(len(mask.values))
        self._worst = Worst()
        super().__init__(self._pixels, self._worst)

    def update(self, output: Tensor, batch: BatchLike, ids: Tensor) -> None:
        """Take in a batch; of an image only the predicted classes are kept, not their logits."""
        self._pixels.update(output, batch)
        entropy, dice = pixel_losses(output, batch.target, ignores=True)
        losses = entropy / batch.target[0:1].numel() + dice
        self._worst.update(losses, output.argmax(dim=1).to(torch.uint8), batch.target, ids)

    def figures(self) -> dict[str, Any]:
        """Draw the confusion matrix of the pixels, and how well each class is found."""
        names = self._mask.output.classes
        return {
            "confusion-matrix": confusion_figure(self._pixels.counts, names),
            "iou-by-class": class_figure(self._pixels, names),
        }

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Describe the images by the Dice of their mask."""
        rows = []
        for shown in self._worst.samples:
            assert shown.target is not None
            counts = PixelCounts(len(self._mask.values))
            counts.add(shown.output, shown.target)
            dice = counts.compute()["dice"]
            rows.append(
                {"id": shown.id, "target": "mask", "prediction": f"dice {dice:.3f}", "loss": round(shown.loss, 4)}
            )
        return rows

    def shown(self) -> Sequence[Shown]:
        """Return the images behind the rows."""
        return self._worst.samples

    def drawn(self, shown: Shown) -> Sequence[np.ndarray]:
        """Return the true and the predicted mask, in even steps from black to white; what is ignored is grey."""
        step = 255 // max(len(self._mask.values) - 1, 1)
        masks = [mask.numpy() for mask in (shown.target, shown.output) if mask is not None]
        drawn = [np.where(mask == IGNORED, GREY, mask.astype(np.uint8) * step) for mask in masks]
        return [mask.astype(np.uint8)[..., None] for mask in drawn]
