"""Mean and covariance of some rows, and how far apart two sets of rows are by them."""

import torch
from torch import Tensor


class Moments:
    """Count, sum and sum of products of some rows, in double precision.

    Args:
        width: numbers of a row.

    """

    def __init__(self, width: int) -> None:
        self.count = torch.zeros((), dtype=torch.float64)
        self.sums = torch.zeros(width, dtype=torch.float64)
        self.products = torch.zeros(width, width, dtype=torch.float64)

    def add(self, rows: Tensor) -> None:
        """Take in (N, width) rows."""
        rows = rows.double().cpu()
        self.count += len(rows)
        self.sums += rows.sum(dim=0)
        self.products += rows.T @ rows

    def state(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return count, sums and products."""
        return self.count, self.sums, self.products

    def merge(self, state: tuple[Tensor, Tensor, Tensor]) -> None:
        """Add those of another worker."""
        count, sums, products = state
        self.count += count
        self.sums += sums
        self.products += products

    def normal(self) -> tuple[Tensor, Tensor]:
        """Return (width,) means and (width, width) covariances."""
        mean = self.sums / self.count
        return mean, self.products / self.count - torch.outer(mean, mean)


def frechet_distance(one: Moments, other: Moments) -> float:
    """Return the Frechet distance between two normal distributions; NaN where one has fewer than two rows."""
    if min(int(one.count), int(other.count)) < 2:
        return float("nan")
    (mean, covariance), (other_mean, other_covariance) = one.normal(), other.normal()
    root = _square_root(covariance)
    cross = torch.linalg.eigvalsh(root @ other_covariance @ root).clamp(min=0).sqrt().sum()
    return float((mean - other_mean).square().sum() + covariance.trace() + other_covariance.trace() - 2 * cross)


def _square_root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return root
