"""New rows like those of a table, of a class where the data has some."""

from typing import cast

from torch import Tensor, nn

from stoker.datasets.records import Records
from stoker.errors import JobError, Problem
from stoker.job.training import Training
from stoker.tasks.abilities import CanSample
from stoker.tasks.generation.denoising import Denoiser, Denoising
from stoker.tasks.generation.row_comparison import RowDistances, RowReview
from stoker.tasks.metrics import Metrics, Together
from stoker.tasks.objective import BatchLike, NoiseLike, Objective
from stoker.tasks.task import Answers, Review, Task


class TableGeneration(Task):
    """Rows from noise: the network makes (B, numbers + categories), as they are encoded."""

    def objective(self, network: nn.Module, training: Training) -> Objective:
        """Minimise what remains of noise that is added to the rows."""
        if isinstance(network, Denoiser):
            return Denoising(network)
        message = "the network makes no rows: it needs `errors(inputs, classes, noise)` and `sample`"
        raise JobError([Problem("architecture", message)])

    def metrics(self, samples: int) -> Metrics:
        """Return none: all that is cheap to measure is the loss."""
        return Together()

    def expensive_metrics(self, samples: int) -> Metrics:
        """Return how far the columns of new rows, and the correlations between them, are from those of the data."""
        return RowDistances(self.fields)

    def review(self) -> Review:
        """Gather real and new rows, to draw their columns and correlations."""
        return RowReview(self.fields)

    def outcome(self, network: nn.Module, batch: BatchLike, noise: NoiseLike, output: Tensor, quick: bool) -> Tensor:
        """Return as many new rows as the batch has, of the same classes."""
        return cast("CanSample", network).sample(batch.target, noise)

    def answers(self, outputs: Tensor, records: Records) -> Answers:
        """Refuse: there is no question."""
        raise JobError([Problem("", "table-generation has nothing to predict; use stoker generate")])
