"""What a task decides: loss, metrics, predictions and pictures."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
from torch import Tensor, nn

from stoker.job.signature import Output
from stoker.tasks.objective import Objective

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torchmetrics import MetricCollection


@dataclass(frozen=True)
class Outcome:
    """What came out for the samples of one part, on the CPU."""

    outputs: Tensor
    """(N, ...) float32 outputs of the network."""
    target: Tensor
    """(N,) targets."""
    ids: Tensor
    """(N,) number of each sample in its source."""


class Task(ABC):
    """One way to learn from samples."""

    @abstractmethod
    def objective(self, network: nn.Module, output: Output) -> Objective:
        """Wrap the network in what is minimised."""

    @abstractmethod
    def metrics(self, output: Output) -> "MetricCollection":
        """Return the exact metrics, without the loss; they take what `measured` returns."""

    @abstractmethod
    def measured(self, outputs: Tensor, output: Output) -> Tensor:
        """Turn outputs of the network into what the metrics compare with the target."""

    @abstractmethod
    def predictions(self, outputs: Tensor, output: Output) -> pd.DataFrame:
        """Turn outputs (N, ...) into a table for people: one row a sample, `prediction` first."""

    @abstractmethod
    def figures(self, outcome: Outcome, output: Output) -> dict[str, "Figure"]:
        """Draw what shows how good the predictions are, by file name without ending."""

    @abstractmethod
    def worst(self, outcome: Outcome, output: Output, count: int) -> Sequence[Mapping[str, Any]]:
        """Describe the samples with the largest losses, worst first: `id`, `target`, `prediction`, `loss`."""
