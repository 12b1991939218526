"""Images, and rows of a table, that are not like the normal ones."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor, nn

from stoker.datasets.records import Records
from stoker.datasets.rows import column_names
from stoker.job.training import Training
from stoker.tasks.metrics import Metrics
from stoker.tasks.objective import BatchLike, Objective
from stoker.tasks.pictures.annotation import captioned, heated
from stoker.tasks.pictures.anomaly_scores import AnomalyMetrics, AnomalyReview, heat, name_of
from stoker.tasks.pictures.one_class import OneClass, is_odd
from stoker.tasks.sheet import Picture, Sheet
from stoker.tasks.task import Answers, Review, Task


class AnomalyDetection(Task):
    """A score for each sample: above 1 it is an anomaly."""

    def objective(self, network: nn.Module, training: Training) -> Objective:
        """Minimise the network's own loss of normal images."""
        return OneClass(network, training.threshold)

    def metrics(self, samples: int) -> Metrics:
        """AUROC and average precision of the scores, and F1 at the threshold; they need labelled anomalies."""
        return AnomalyMetrics()

    def review(self) -> Review:
        """Gather the scores, and the images that are least where they belong."""
        return AnomalyReview(self.fields.image if self.fields.signature.images else None)

    def show(self, network: nn.Module, few: BatchLike, seed: int) -> Sheet | None:
        """Return each image beside its heat map; nothing of rows."""
        if not self.fields.signature.images:
            return None
        scores = network(few.inputs).float().cpu()
        pixels = self.fields.image.pixels(next(iter(few.inputs.values()))).cpu().numpy()
        maps = heat(scores, self.fields.image)
        pictures = []
        for row, (image, odd) in enumerate(zip(pixels, is_odd(few).tolist(), strict=True)):
            score = float(scores[row, 0])
            pictures.append(Picture((image, maps[row]), f"{name_of(odd)} {score:.2f}", wrong=odd != (score > 1)))
        return Sheet("scores", tuple(pictures), images=("image", "heat"))

    def answers(self, outputs: Tensor, records: Records) -> Answers:
        """Return what each sample is taken for and its score, in units of the threshold.

        The images are heat maps; of a row there is the column that is furthest from what is normal.
        """
        scores = outputs[:, 0].float()
        names = [name_of(odd) for odd in (scores > 1).tolist()]
        table = pd.DataFrame({"prediction": pd.Series(names, dtype=object), "score": scores.numpy()})
        if not self.fields.signature.images:
            names_of = column_names(self.fields)
            return Answers(table.assign(column=[names_of[place] for place in outputs[:, 1:].argmax(dim=1).tolist()]))
        return Answers(table, heat(outputs, self.fields.image))

    def annotated(self, picture: np.ndarray, answer: Mapping[str, Any], image: np.ndarray | None) -> np.ndarray:
        """Draw the heat map over the picture, with the score below."""
        assert image is not None
        return captioned(heated(picture, image[..., 0]), f"{answer['prediction']} {answer['score']:.2f}")
