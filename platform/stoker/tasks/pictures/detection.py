"""The objects of an image, each with a class and a box around it."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from stoker.datasets.pictures.headers import Size, image_sizes
from stoker.datasets.records import Files, RawColumn, Records, in_memory
from stoker.job.training import Training
from stoker.tasks.abilities import can_find
from stoker.tasks.metrics import Metrics
from stoker.tasks.objective import BatchLike, NoiseLike, Objective
from stoker.tasks.pictures.annotation import boxed
from stoker.tasks.pictures.average_precision import AveragePrecision
from stoker.tasks.pictures.coco_json import coco_json
from stoker.tasks.pictures.detection_loss import BoxLosses, OwnBoxLosses
from stoker.tasks.pictures.detection_review import DetectionReview
from stoker.tasks.pictures.detections import EVALUATED, detections
from stoker.tasks.sheet import Picture, Sheet
from stoker.tasks.task import Answers, Review, Task

ANSWER = ("prediction", "boxes", "height", "width")
"""Columns of the table of answers."""
SIDES = ("left", "top", "right", "bottom")
"""Of a box, in pixels of the picture."""


class ObjectDetection(Task):
    """Boxes with classes."""

    def objective(self, network: nn.Module, training: Training) -> Objective:
        """Minimise the losses of classes and boxes, those of the network itself where it has some."""
        chosen = OwnBoxLosses if can_find(network) else BoxLosses
        return chosen(network)

    def metrics(self, samples: int) -> Metrics:
        """Return the mean average precisions of COCO."""
        return AveragePrecision(self.fields.signature.classes)

    def review(self) -> Review:
        """Gather the boxes of all pictures, and the pictures with the lowest F1."""
        return DetectionReview(self.fields.image, self.fields.signature.classes)

    def show(self, network: nn.Module, few: BatchLike, seed: int) -> Sheet:
        """Return each picture with its true boxes, and with those that are found."""
        review = DetectionReview(self.fields.image, self.fields.signature.classes)
        review.update(detections(network, network(few.inputs).float(), EVALUATED), few, torch.arange(len(few)))
        drawn = {
            shown.id: Picture(tuple(review.drawn(shown)), row["prediction"])
            for shown, row in zip(review.shown(), review.rows(), strict=True)
        }
        return Sheet("found", tuple(drawn[i] for i in sorted(drawn)), images=("truth", "found"))

    def outputs(self, network: nn.Module, inputs: Mapping[str, Tensor], noise: NoiseLike) -> Tensor:
        """Return the boxes that are found."""
        return detections(network, super().outputs(network, inputs, noise).float())

    def answers(self, outputs: Tensor, records: Records) -> Answers:
        """Return the boxes of each picture as JSON, in pixels of the picture as it is, and how many there are."""
        image, classes = self.fields.image, self.fields.signature.classes
        sizes = _sizes(records.columns[image.name], (image.height, image.width))
        rows = []
        for boxes, (height, width) in zip(outputs.cpu().numpy(), sizes, strict=True):
            found = [
                {
                    "class": classes[int(box[0])],
                    "score": round(float(box[1]), 4),
                    **dict(zip(SIDES, (box[2:] * [width, height, width, height]).round(1).tolist(), strict=True)),
                }
                for box in boxes[boxes[:, 1] > 0]
            ]
            rows.append({"prediction": json.dumps(found), "boxes": len(found), "height": height, "width": width})
        return Answers(pd.DataFrame(rows, columns=list(ANSWER)))

    def listed(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a row for each box; a picture in which none is found has none."""
        others = [name for name in table.columns if name not in ANSWER]
        names = [*others, "class", "score", *SIDES]
        rows = [
            {**{name: row[name] for name in others}, **box}
            for row in table.to_dict("records")
            for box in json.loads(row["prediction"])
        ]
        return pd.DataFrame(rows, columns=names)

    def interchange(self, table: pd.DataFrame) -> dict[str, Any]:
        """Return pictures and boxes in the JSON of COCO, which programs for labels read."""
        return coco_json(table, self.fields.signature.classes)

    def annotated(self, picture: np.ndarray, answer: Mapping[str, Any], image: np.ndarray | None) -> np.ndarray:
        """Draw the boxes with their classes and scores."""
        classes, (height, width) = self.fields.signature.classes, picture.shape[:2]
        return boxed(
            picture,
            [
                (
                    f"{box['class']} {box['score']:.2f}",
                    classes.index(box["class"]),
                    box["left"] / width,
                    box["top"] / height,
                    box["right"] / width,
                    box["bottom"] / height,
                )
                for box in json.loads(answer["prediction"])
            ],
        )


def _sizes(column: RawColumn, size: Size) -> list[Size]:
    """Return height and width of each picture; those in memory have the network's size."""
    if in_memory(column) is None and isinstance(column, Files):
        return image_sizes(column)
    return [size] * len(column)
