"""What is known of the features of normal images: the nearest of them, or their mean and how they vary."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

MOST_CANDIDATES = 20_000
"""Features that a bank is chosen from, drawn evenly from all."""
CHUNK = 1024
"""Features compared with a bank at once."""
RIDGE = 0.01
"""Share of the mean variance that is added to each: that of features which hardly vary is not known well."""


class NormalFeatures(nn.Module, ABC):
    """What is known of the features of normal images; all of it is buffers."""

    @abstractmethod
    def learn(self, features: Tensor) -> None:
        """Replace what is known by that of (N, places, width) features."""

    @abstractmethod
    def distances(self, features: Tensor) -> Tensor:
        """Return (B, places) distances of (B, places, width) features."""

    @abstractmethod
    def difference(self, features: Tensor) -> Tensor:
        """Return (B, width) how whole images differ from what is known, by (B, width) features."""


class Bank(NormalFeatures):
    """Features of normal images, of which the nearest tell the distance (Roth et al. 2022).

    Args:
        size: most features.
        width: numbers of a feature.
        neighbours: how many of the nearest the distance is a mean to.

    """

    rows: Tensor
    filled: Tensor

    def __init__(self, size: int, width: int, neighbours: int) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.register_buffer("rows", torch.zeros(size, width))
        self.register_buffer("filled", torch.ones((), dtype=torch.int64))

    def learn(self, features: Tensor) -> None:
        """Keep those that stand for the others best."""
        every = features.flatten(0, 1)
        if len(every) > MOST_CANDIDATES:
            places = torch.linspace(0, len(every) - 1, MOST_CANDIDATES, device=every.device).round().long()
            every = every[places]
        kept = every if len(every) <= len(self.rows) else every[coreset(every, len(self.rows))]
        self.rows.zero_()
        self.rows[: len(kept)] = kept
        self.filled.fill_(len(kept))

    def distances(self, features: Tensor) -> Tensor:
        """Return mean distances to the nearest."""
        return self._nearest(features.flatten(0, 1))[0].view(features.shape[:2])

    def difference(self, features: Tensor) -> Tensor:
        """Return the difference from the mean of the nearest."""
        return features - self._known[self._nearest(features)[1]].mean(dim=1)

    @property
    def _known(self) -> Tensor:
        return self.rows[: int(self.filled)]

    def _nearest(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N,) mean distances to the nearest, and (N, neighbours) which these are."""
        known = self._known
        count = min(self.neighbours, len(known))
        found = [
            torch.cdist(part, known, compute_mode="donot_use_mm_for_euclid_dist").topk(count, dim=1, largest=False)
            for part in torch.split(features, CHUNK)
        ]
        return torch.cat([each.values for each in found]).mean(dim=1), torch.cat([each.indices for each in found])


class Gaussian(NormalFeatures):
    """Mean and covariance of the features of each place: distances are those of Mahalanobis (Defard et al. 2021).

    Args:
        places: of an image.
        width: numbers of a feature.

    """

    mean: Tensor
    whitening: Tensor

    def __init__(self, places: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(places, width))
        self.register_buffer("whitening", torch.eye(width).repeat(places, 1, 1))

    def learn(self, features: Tensor) -> None:
        """Compute mean, and what makes the features vary evenly."""
        every = features.double()
        mean = every.mean(dim=0)
        centred = (every - mean).transpose(0, 1)
        covariance = centred.transpose(1, 2) @ centred / max(len(every) - 1, 1)
        level = covariance.diagonal(dim1=1, dim2=2).mean(dim=1).clamp(min=1e-12)
        identity = torch.eye(every.shape[2], dtype=every.dtype, device=every.device)
        precision = torch.linalg.inv(covariance + RIDGE * level[:, None, None] * identity)
        self.mean.copy_(mean)
        self.whitening.copy_(torch.linalg.cholesky((precision + precision.mT) / 2))

    def distances(self, features: Tensor) -> Tensor:
        """Return distances of Mahalanobis."""
        centred = (features - self.mean).unsqueeze(2)
        distances: Tensor = (centred @ self.whitening).squeeze(2).norm(dim=2)
        return distances

    def difference(self, features: Tensor) -> Tensor:
        """Return the gradient of the squared distance, without its factor."""
        whitening = self.whitening[0]
        return (features - self.mean[0]) @ whitening @ whitening.T


def coreset(features: Tensor, count: int) -> Tensor:
    """Return which (count,) of (N, width) features to keep: each is the one farthest from those kept before."""
    kept = torch.zeros(count, dtype=torch.int64, device=features.device)
    distance = (features - features[0]).square().sum(dim=1)
    for number in range(1, count):
        kept[number] = distance.argmax()
        distance = torch.minimum(distance, (features - features[kept[number]]).square().sum(dim=1))
    return kept
