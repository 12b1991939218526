"""What is minimised: the contract between a task and the training loop."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from torch import Tensor, nn


class BatchLike(Protocol):
    """Some samples, as the network sees them."""

    @property
    def inputs(self) -> Mapping[str, Tensor]:
        """What job.signature says of the input, B rows each."""

    @property
    def target(self) -> Tensor:
        """(B,) class numbers or values."""

    @property
    def weight(self) -> Tensor | None:
        """(B,) weight of each sample in the loss; None where all weigh 1."""

    @property
    def rows(self) -> slice:
        """Which rows of this worker's share of the global batch these are: the place of carried state."""

    def __len__(self) -> int: ...


class NoiseLike(Protocol):
    """Random numbers for the rows of a batch that do not depend on how it is cut up."""

    def normal(self, *shape: int) -> Tensor:
        """Draw (B, *shape) from the standard normal distribution."""

    def uniform(self, *shape: int) -> Tensor:
        """Draw (B, *shape) evenly from 0 to 1."""


@dataclass(frozen=True)
class Loss:
    """A sum and what it counts, never a mean: so that uneven batches, weights and micro-batches come out exact."""

    total: Tensor
    """Scalar; carries the gradient."""
    weight: Tensor
    """Scalar; samples, tokens, positive boxes."""


class Objective(nn.Module, ABC):
    """The network or networks of a run, and what is minimised with them.

    Everything that training changes is a parameter or a buffer: the state dict is what a checkpoint keeps. What is not
    named in `carried` is *replicated*: each worker holds the same, so it may depend on weights and noise but not on a
    worker's samples.
    """

    order: ClassVar[Literal["shuffled", "streams"]] = "shuffled"
    """How an epoch's samples become batches: in random order, or so that each row of a batch follows the same row of
    the batch before (the samples, as they stand, cut into as many streams as a batch has rows)."""

    carried: ClassVar[tuple[str, ...]] = ()
    """Buffers, by qualified name, whose first dimension is the rows of the global batch; a worker holds its share."""

    network: nn.Module
    """What predicts: it becomes the run's model."""

    @abstractmethod
    def forward(self, batch: BatchLike, turn: str, noise: NoiseLike) -> dict[str, Loss]:
        """Return the terms of the loss of a turn: always the same terms, also for a batch without samples."""

    @abstractmethod
    def turns(self, step: int) -> Sequence[str]:
        """Name the parameter groups that are stepped, one after another, in this step."""

    @abstractmethod
    def groups(self) -> dict[str, nn.Module]:
        """Name the modules whose parameters each turn changes."""

    @abstractmethod
    def evaluate(self, batch: BatchLike, noise: NoiseLike) -> tuple[dict[str, Loss], Tensor | None]:
        """Return the losses and the network's output for the task's metrics; None has no metrics but the losses."""

    def begin_epoch(self, rows: int) -> None:
        """Forget what was carried over; this worker's share of a batch has so many rows."""

    def after_step(self) -> None:
        """Follow the weights that this step has changed, such as with a moving average."""


class Supervised(Objective):
    """One network, one loss of its output against the target."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @abstractmethod
    def losses(self, output: Tensor, batch: BatchLike) -> Tensor:
        """Return (B,) losses."""

    def forward(self, batch: BatchLike, turn: str, noise: NoiseLike) -> dict[str, Loss]:
        """Return the one term `loss`."""
        return {"loss": self._summed(self.network(batch.inputs), batch)}

    def turns(self, step: int) -> Sequence[str]:
        """Step the network."""
        return ("network",)

    def groups(self) -> dict[str, nn.Module]:
        """One group: all of the network."""
        return {"network": self.network}

    def evaluate(self, batch: BatchLike, noise: NoiseLike) -> tuple[dict[str, Loss], Tensor | None]:
        """Return the loss and the network's output."""
        output = self.network(batch.inputs)
        return {"loss": self._summed(output, batch)}, output

    def _summed(self, output: Tensor, batch: BatchLike) -> Loss:
        losses = self.losses(output.float(), batch)
        if batch.weight is None:
            return Loss(losses.sum(), losses.new_full((), float(len(batch))))
        return Loss((losses * batch.weight).sum(), batch.weight.sum())
