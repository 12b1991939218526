"""A number for each row of a table."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn

from stoker.job.signature import Output, ValueOutput
from stoker.tasks.objective import BatchLike, Objective, Supervised
from stoker.tasks.task import Outcome, Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torchmetrics import MetricCollection

DRAWN_SAMPLES = 2_000


class SquaredError(Supervised):
    """Squared error, in units of the training values' variance."""

    def __init__(self, network: nn.Module, output: ValueOutput) -> None:
        super().__init__(network)
        self._mean = output.mean
        self._scale = output.scale

    def losses(self, output: Tensor, batch: BatchLike) -> Tensor:
        """Return (B,) losses of (B, 1) outputs."""
        error: Tensor = output.squeeze(1) - (batch.target - self._mean) / self._scale
        return error.square()


class TabularRegression(Task):
    """A number for each row."""

    def objective(self, network: nn.Module, output: Output) -> Objective:
        """Minimise the squared error."""
        return SquaredError(network, _value(output))

    def metrics(self, output: Output) -> "MetricCollection":
        """RMSE and MAE in the label's own unit, and the share of variance explained."""
        from torchmetrics import MetricCollection  # seconds to import: not before the first evaluation
        from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError

        from stoker.tasks.defined_metrics import R2

        metrics = {"rmse": MeanSquaredError(squared=False), "mae": MeanAbsoluteError(), "r2": R2()}
        collection: MetricCollection = MetricCollection(metrics, compute_groups=False).set_dtype(torch.float64)
        return collection

    def measured(self, outputs: Tensor, output: Output) -> Tensor:
        """Return (B,) values in the label's unit."""
        value = _value(output)
        return outputs.double().squeeze(1) * value.scale + value.mean

    def predictions(self, outputs: Tensor, output: Output) -> pd.DataFrame:
        """Return the number."""
        return pd.DataFrame({"prediction": self.measured(outputs, output).numpy()})

    def figures(self, outcome: Outcome, output: Output) -> dict[str, "Figure"]:
        """Draw predictions against true values."""
        from matplotlib.figure import Figure

        predicted = self.measured(outcome.outputs, output)[:DRAWN_SAMPLES].numpy()
        true = outcome.target[:DRAWN_SAMPLES].numpy()
        figure = Figure(figsize=(6, 6), layout="constrained")
        axes = figure.add_subplot()
        axes.scatter(true, predicted, s=8, alpha=0.5)
        ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
        axes.plot(ends, ends, color="grey", linewidth=1)
        name = _value(output).name
        axes.set(xlabel=f"true {name}", ylabel=f"predicted {name}", title=f"Predictions, {len(true)} samples")
        return {"predicted-against-true": figure}

    def worst(self, outcome: Outcome, output: Output, count: int) -> Sequence[Mapping[str, Any]]:
        """Describe the rows that are farthest off."""
        predicted = self.measured(outcome.outputs, output)
        errors = (predicted - outcome.target).abs()
        return [
            {
                "id": int(outcome.ids[i]),
                "target": float(outcome.target[i]),
                "prediction": round(float(predicted[i]), 6),
                "loss": round(float(errors[i] / _value(output).scale) ** 2, 4),
            }
            for i in errors.argsort(descending=True)[:count].tolist()
        ]


def _value(output: Output) -> ValueOutput:
    assert isinstance(output, ValueOutput)
    return output
