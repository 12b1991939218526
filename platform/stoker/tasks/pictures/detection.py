"""The objects of an image, each with a class and a box around it."""

from collections.abc import Mapping

import pandas as pd
from torch import Tensor, nn

from stoker.datasets.records import Records
from stoker.job.training import Training
from stoker.tasks.metrics import Metrics
from stoker.tasks.objective import NoiseLike, Objective
from stoker.tasks.pictures.average_precision import AveragePrecision
from stoker.tasks.pictures.detection_loss import BoxLosses
from stoker.tasks.pictures.detections import detections
from stoker.tasks.task import Answers, Review, Task


class ObjectDetection(Task):
    """Boxes with classes."""

    def objective(self, network: nn.Module, training: Training) -> Objective:
        """Minimise the losses of classes and boxes."""
        return BoxLosses(network)

    def metrics(self, samples: int) -> Metrics:
        """Return the mean average precisions of COCO."""
        return AveragePrecision(self.fields.signature.classes)

    def review(self) -> Review | None:
        return None

    def outputs(self, network: nn.Module, inputs: Mapping[str, Tensor], noise: NoiseLike) -> Tensor:
        """Return the boxes that are found."""
        return detections(network, super().outputs(network, inputs, noise).float())

    def answers(self, outputs: Tensor, records: Records) -> Answers:
        return Answers(pd.DataFrame())
