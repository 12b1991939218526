"""Metrics of new images by the features of a trained classifier, which are kept until the end of the evaluation."""

import torch
from torch import Tensor

from stoker.tasks.generation.feature_network import FeatureNetwork
from stoker.tasks.generation.moments import Moments, frechet_distance
from stoker.tasks.generation.pixel_metrics import made_images
from stoker.tasks.generation.sample_quality import diversity, kernel_distance, memorised, precision_and_recall
from stoker.tasks.metrics import Metrics
from stoker.tasks.objective import BatchLike

MOST_COMPARED = 10_000
"""Samples that are compared pair by pair, evenly spaced among those of the evaluation."""
Kept = tuple[Tensor, Tensor, Tensor, Tensor]
"""Features of made and of real images, the classes asked for (-1 without), and those that the classifier sees."""


class FeatureMetrics(Metrics):
    """Distances, coverage and novelty of made images beside real ones.

    Args:
        network: whose features they are.

    """

    def __init__(self, network: FeatureNetwork) -> None:
        self._network = network
        self._kept: list[Kept] = []

    def update(self, output: Tensor, batch: BatchLike) -> None:
        """Take in generated images, as `made_images` reads them, with as many real ones and their classes."""
        (real,) = batch.inputs.values()
        made, seen = self._network(made_images(output, batch))
        known, _ = self._network(real)
        asked = torch.full_like(seen, -1) if batch.target is None else batch.target
        self._kept.append((made.cpu(), known.cpu(), asked.cpu(), seen.cpu()))

    def state(self) -> Kept | None:
        """Return all that is kept; None without samples."""
        if not self._kept:
            return None
        made, real, asked, seen = (torch.cat(each) for each in zip(*self._kept, strict=True))
        return made, real, asked, seen

    def merge(self, state: Kept | None) -> None:
        """Take in another worker's."""
        if state is not None:
            self._kept.append(state)

    def compute(self) -> dict[str, float]:
        """Return each metric; `agreement` only where the classifier knows the classes that are asked for."""
        kept = self.state()
        assert kept is not None
        made, real, asked, seen = kept
        found = {"fid": _frechet(made, real)}
        if self._network.names_classes and int(asked.min()) >= 0:
            found["agreement"] = float((asked == seen).double().mean())
        count = min(len(made), MOST_COMPARED)
        rows = torch.linspace(0, len(made) - 1, count).round().long()
        training = self._network.training_features
        assert training is not None, "only the first worker computes metrics"
        made, real, training = (each.double() for each in (made[rows], real[rows], training))
        found["kid"] = kernel_distance(made, real)
        middle = training.mean(dim=0)  # rounding errors of distances grow with the numbers
        made, real, training = made - middle, real - middle, training - middle
        found["precision"], found["recall"] = precision_and_recall(made, real)
        found["diversity"] = diversity(made, real, asked[rows])
        found["memorised"] = memorised(made, real, training)
        return found


def _frechet(made: Tensor, real: Tensor) -> float:
    sets = []
    for features in (made, real):
        moments = Moments(features.shape[1])
        moments.add(features)
        sets.append(moments)
    return frechet_distance(*sets)
