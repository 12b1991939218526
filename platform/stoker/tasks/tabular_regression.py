"""A number for each row of a table."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn

from stoker.datasets.records import Records
from stoker.job.signature import ValueOutput
from stoker.job.training import Training
from stoker.tasks.metrics import Collected, Metrics, Shown, Worst
from stoker.tasks.objective import BatchLike, Objective, Supervised
from stoker.tasks.task import Answers, Review, Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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

    def objective(self, network: nn.Module, training: Training) -> Objective:
        """Minimise the squared error."""
        return SquaredError(network, self.value)

    def metrics(self, samples: int) -> Metrics:
        """RMSE and MAE in the label's own unit, and the share of variance explained."""
        from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError  # seconds to import

        from stoker.tasks.defined_metrics import R2

        metrics = {"rmse": MeanSquaredError(squared=False), "mae": MeanAbsoluteError(), "r2": R2()}
        return Collected({name: metric.set_dtype(torch.float64) for name, metric in metrics.items()}, self._in_unit)

    def review(self) -> Review:
        """Gather predictions against true values, and the rows that are farthest off."""
        return ErrorReview(self.value)

    def answers(self, outputs: Tensor, records: Records) -> Answers:
        """Return the number."""
        return Answers(pd.DataFrame({"prediction": self._in_unit(outputs).numpy()}))

    @property
    def value(self) -> ValueOutput:
        """The number to predict, with its unit."""
        output = self.fields.signature.output
        assert isinstance(output, ValueOutput)
        return output

    def _in_unit(self, outputs: Tensor) -> Tensor:
        """Return (B,) values in the label's unit."""
        return in_unit(outputs, self.value)


def in_unit(outputs: Tensor, value: ValueOutput) -> Tensor:
    """Turn (B, 1) outputs into (B,) float64 values in the label's unit."""
    return outputs.double().squeeze(1) * value.scale + value.mean


class ErrorReview(Review):
    """The first predictions beside their true values, and the rows with the largest errors."""

    def __init__(self, value: ValueOutput) -> None:
        self._value = value
        self._pairs: list[tuple[int, float, float]] = []
        self._worst = Worst()

    def update(self, output: Tensor, batch: BatchLike, ids: Tensor) -> None:
        """Take in a batch."""
        predicted = in_unit(output, self._value)
        if (room := DRAWN_SAMPLES - len(self._pairs)) > 0:
            few = slice(0, room)
            self._pairs += zip(ids[few].tolist(), predicted[few].tolist(), batch.target[few].tolist(), strict=True)
        self._worst.update((predicted - batch.target).abs(), output, batch.target, ids)

    def state(self) -> tuple[list[tuple[int, float, float]], tuple[int, list[Shown]]]:
        """Return pairs and samples."""
        return self._pairs, self._worst.state()

    def merge(self, state: tuple[list[tuple[int, float, float]], tuple[int, list[Shown]]]) -> None:
        """Take in another worker's."""
        self._pairs = (self._pairs + state[0])[:DRAWN_SAMPLES]
        self._worst.merge(state[1])

    def figures(self) -> dict[str, "Figure"]:
        """Draw predictions against true values."""
        from matplotlib.figure import Figure

        pairs = sorted(self._pairs)  # by sample: the order of workers must not show
        predicted, true = [pair[1] for pair in pairs], [pair[2] for pair in pairs]
        figure = Figure(figsize=(6, 6), layout="constrained")
        axes = figure.add_subplot()
        axes.scatter(true, predicted, s=8, alpha=0.5)
        ends = [min(*true, *predicted), max(*true, *predicted)]
        axes.plot(ends, ends, color="grey", linewidth=1)
        name = self._value.name
        axes.set(xlabel=f"true {name}", ylabel=f"predicted {name}", title=f"Predictions, {len(true)} samples")
        return {"predicted-against-true": figure}

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Describe the rows that are farthest off."""
        rows = []
        for shown in self._worst.samples:
            assert shown.target is not None
            rows.append(
                {
                    "id": shown.id,
                    "target": float(shown.target),
                    "prediction": round(float(in_unit(shown.output[None], self._value)[0]), 6),
                    "loss": round((shown.loss / self._value.scale) ** 2, 4),
                }
            )
        return rows
