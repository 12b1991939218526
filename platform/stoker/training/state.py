"""Everything that changes during training."""

import math
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.optim import Optimizer

from stoker.datasets.feeding.batches import Batches
from stoker.errors import Cause, TrainingFailed
from stoker.tasks.objective import Count
from stoker.training.assembly import Assembly
from stoker.training.averaging import WeightAverage
from stoker.training.best_metric import BestMetric
from stoker.training.gradients import Sums
from stoker.training.optimization import Schedule
from stoker.training.reduction import GradientReducer
from stoker.training.sharding import ShardedGradients
from stoker.training.throughput import Throughput

SHOWN_SAMPLES = 8


@dataclass
class TrainingState:
    """Everything that changes during training; consistent whenever the loop yields a StepEnd or an EpochEnd."""

    assembly: Assembly
    batches: Batches
    reducers: dict[str, GradientReducer | ShardedGradients]
    """Parameters that each turn changes, with the sums of their gradients over the workers."""
    optimizers: dict[str, tuple[Optimizer, ...]]
    schedules: dict[str, Schedule]
    best: BestMetric
    stopping: BestMetric | None
    patience: int
    """Epochs without improvement before early stopping."""
    epoch: int = 0
    """Epochs done so far."""
    batch: int = 0
    """Steps of this epoch done so far."""
    step: int = 0
    """Steps done so far."""
    seconds: float = 0.0
    """Training time before this attempt."""
    reason: str = ""
    """Why training ended; empty until then."""
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    average: WeightAverage | None = None
    """Moving average of the weights, if the job has one."""
    unread: list[Sums] = field(default_factory=list)
    """Losses of steps not read yet."""
    sums: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Total and weight of each term over the epoch."""
    began: float = field(default_factory=time.monotonic)
    throughput: Throughput = field(default_factory=Throughput)

    def weights(self) -> dict[str, Tensor]:
        """Return the state that is the same on every worker: parameters and replicated buffers, by qualified name.

        Weights of a pretrained model that training leaves as they are do not belong to it.
        """
        objective = self.assembly.objective
        others = {*objective.carried, *objective.unchanged_weights()}
        return {name: value for name, value in objective.state_dict().items() if name not in others}

    def averaged(self) -> AbstractContextManager[None]:
        """Exchange the weights for their averages meanwhile, if the job has them: evaluation uses these."""
        return self.average.in_place() if self.average else nullcontext()

    def trained_s(self) -> float:
        """Seconds trained so far, over all attempts."""
        return self.seconds + time.monotonic() - self.began

    def read_losses(self) -> None:
        """Add the losses of past steps to the epoch's.

        Raises:
            TrainingFailed: a loss is not finite; the message names the step and its samples.

        """
        first = self.step - len(self.unread) + 1
        named = [(first + place, term, pair) for place, step in enumerate(self.unread) for term, pair in step.items()]
        self.unread.clear()
        totals, weights = _read([total for _, _, (total, _) in named]), _read([count for _, _, (_, count) in named])
        for (step, term, _), total, weight in zip(named, totals, weights, strict=True):
            if not math.isfinite(total):
                raise TrainingFailed(Cause.NON_FINITE, f"the {term} became {total} at {self._describe_step(step)}")
            before = self.sums.get(term, (0.0, 0.0))
            self.sums[term] = (before[0] + total, before[1] + weight)

    def _describe_step(self, step: int) -> str:
        """Return a description of a step of this epoch and its samples: of those with non-finite values, if any."""
        ids = self.batches.ids(self.epoch, self.batch - (self.step - step) - 1)
        broken = self.assembly.nonfinite_samples(ids)
        shown = broken or ids
        rest = f" and {len(shown) - SHOWN_SAMPLES} more" if len(shown) > SHOWN_SAMPLES else ""
        samples = ", ".join(self.assembly.data.name_of(number) for number in shown[:SHOWN_SAMPLES]) + rest
        what = "of which these have values that are not finite" if broken else "samples"
        return f"step {step} (epoch {self.epoch + 1}; {what}: {samples})"


def _read(numbers: Sequence[Count]) -> list[float]:
    """Read scalars, those on a device at once."""
    tensors = [number for number in numbers if isinstance(number, Tensor)]
    if not tensors or len(tensors) < len(numbers):
        return [float(number) for number in numbers]
    values: list[float] = torch.stack(tensors).double().tolist()
    return values
