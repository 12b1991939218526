"""What a training reports."""

from dataclasses import dataclass

from torch import Tensor

from stoker.training.gradients import Sums, mean


@dataclass(frozen=True)
class StepEnd:
    """An optimizer step is done."""

    run: str
    epoch: int
    step: int
    """Steps done so far."""
    sums: Sums
    """Total and count of each term over the global batch; still on the device."""
    learning_rates: dict[str, float]
    """Rate of each stepped group."""
    gradient_norms: dict[str, Tensor]
    """Norm of each group; empty if it was neither requested nor needed for clipping."""

    @property
    def losses(self) -> dict[str, Tensor]:
        """Mean of each term over the global batch, on the device."""
        return {term: mean(total, count) for term, (total, count) in self.sums.items()}


@dataclass(frozen=True)
class EpochEnd:
    """An epoch is done and the network evaluated; the state is consistent here."""

    run: str
    epoch: int
    """Epochs done so far."""
    step: int
    metrics: dict[str, float]
    """Keys are quantity/part, such as accuracy/val."""
    improved: bool
    """Whether these are the best weights so far."""
    last: bool = False
    """Whether training ends here."""


@dataclass(frozen=True)
class TrainingEnd:
    """Training is over; the objective holds the best weights."""

    run: str
    step: int
    best_epoch: int
    best_step: int
    """Epoch and step of the weights that the objective holds."""
    reason: str
    """Why training ended: length, time, or early stopping."""


Event = StepEnd | EpochEnd | TrainingEnd
