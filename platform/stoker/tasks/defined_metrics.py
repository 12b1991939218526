"""Metrics that a few samples may leave undefined: then they are NaN, without a warning. Slow to import."""

import math
import warnings

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassAUROC, MultilabelAveragePrecision
from torchmetrics.regression import R2Score
from torchmetrics.utilities.data import dim_zero_cat


class Auroc(MulticlassAUROC):  # type: ignore[misc]  # torchmetrics is not read by mypy
    """Mean of the one-against-rest AUROC over the classes that have samples, where there are others, too."""

    def compute(self) -> Tensor:
        """Return the scalar mean; NaN where all samples are of one class."""
        if self.thresholds is None:
            counts = torch.bincount(dim_zero_cat(self.target), minlength=self.num_classes)
        else:
            counts = self.confmat[0, :, 1].sum(dim=1)
        told_apart = (counts > 0) & (counts < counts.sum())
        with warnings.catch_warnings(action="ignore"):  # of the classes that are left out below
            scores: Tensor = super().compute()
        return scores[told_apart].mean() if told_apart.any() else scores.new_tensor(math.nan)


class AveragePrecision(MultilabelAveragePrecision):  # type: ignore[misc]  # torchmetrics is not read by mypy
    """Mean of the average precision over the tags that some sample has."""

    def compute(self) -> Tensor:
        """Return the scalar mean; NaN where no sample has a tag."""
        if self.thresholds is None:
            there = dim_zero_cat(self.target).bool().any(dim=0)
        else:
            there = self.confmat[0, :, 1].sum(dim=1) > 0
        with warnings.catch_warnings(action="ignore"):  # of the tags that are left out below
            scores: Tensor = super().compute()
        return scores[there].mean() if there.any() else scores.new_tensor(math.nan)


class R2(R2Score):  # type: ignore[misc]  # torchmetrics is not read by mypy
    """Share of the variance explained; torchmetrics' own is 0 or 1 where the variance is merely small."""

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add samples; in float32 the squares of large targets would swallow their variance."""
        super().update(preds.double(), target.double())

    def compute(self) -> Tensor:
        """Return the scalar share; NaN for samples that do not vary."""
        variation: Tensor = self.sum_squared_error - self.sum_error.square() / self.total
        return torch.where(variation > 0, 1 - self.residual / variation, math.nan)
