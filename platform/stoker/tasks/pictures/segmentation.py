"""A class for each pixel of an image."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from stoker.datasets.fields.mask import MaskField
from stoker.datasets.records import Records
from stoker.job.training import Training
from stoker.randomness import PerSampleNoise
from stoker.tasks.classification.classification import weight_of_classes
from stoker.tasks.metrics import Metrics
from stoker.tasks.objective import BatchLike, Objective
from stoker.tasks.pictures.annotation import coloured
from stoker.tasks.pictures.mask_review import MaskReview, PixelCounts
from stoker.tasks.pictures.pixel_losses import PixelLosses
from stoker.tasks.sheet import Picture, Sheet
from stoker.tasks.task import Answers, Review, Task


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
