"""What is minimised: the contract between a task and the training loop."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from torch import Tensor, nn

from stoker.tasks.abilities import can_reload, decoded

Count = Tensor | float
"""What a term of the loss counts: samples, tokens, pixels; a plain number where it is known without the device."""


class BatchLike(Protocol):
    """Some samples, as the network sees them."""

    @property
    def inputs(self) -> Mapping[str, Tensor]:
        """What job.signature says of the inputs, B rows each."""

    @property
    def target(self) -> Any:
        """Tensor as job.signature says of the output; None for data without labels."""

    @property
    def weight(self) -> Tensor | None:
        """(B,) weight of each sample in the loss; None where all weigh 1."""

    @property
    def also(self) -> "BatchLike | None":
        """The same inputs with further labels and their weights, of samples that are mixed; None for whole ones."""

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
    """A sum and what it counts, never a mean: so that uneven batches, weights and workers come out exact."""

    total: Tensor
    """Scalar."""
    count: Count
    """Scalar."""


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
    def counts(self, batch: BatchLike, turn: str) -> dict[str, Count]:
        """Return what each term of a turn's loss counts in a batch: from the data alone, before anything is computed.

        All batches of a step have the same terms, also those without samples.
        """

    @abstractmethod
    def forward(self, batch: BatchLike, turn: str, noise: NoiseLike) -> dict[str, Tensor]:
        """Return the sum of each term of a turn's loss: scalars with a gradient, for the terms of `counts`."""

    @abstractmethod
    def turns(self, step: int) -> Sequence[str]:
        """Return the parameter groups that are stepped, one after another, in this step; a group may come twice."""

    @abstractmethod
    def groups(self) -> dict[str, nn.Module]:
        """Return the modules whose parameters each turn changes."""

    @abstractmethod
    def evaluate(self, batch: BatchLike, noise: NoiseLike) -> tuple[dict[str, Loss], Tensor | None]:
        """Return the losses and the network's output for the task's metrics; None has no metrics but the losses."""

    def unchanged_weights(self) -> frozenset[str]:
        """Return the names of weights of pretrained models that training leaves as they are.

        They are read from there again: neither checkpoints nor saved models hold them.
        """
        parts = [(path, part) for path, part in self.named_modules() if can_reload(part)]
        return frozenset(f"{path}.{name}" for path, part in parts for name in part.unchanged_weights())

    def origin_digests(self) -> dict[str, str]:
        """Return the SHA-256 of the pretrained weights that training leaves as they are, by module."""
        found = {path: part.origin_digest() for path, part in self.named_modules() if can_reload(part)}
        return {path: digest for path, digest in found.items() if digest}

    def begin_epoch(self, rows: int) -> None:
        """Forget what was carried over; this worker's share of a batch has so many rows."""

    def before_evaluation(self, part: Callable[[str], Iterable[BatchLike]]) -> None:
        """Learn what takes a pass over samples, such as a threshold; the first worker's buffers then are all workers'.

        Args:
            part: returns the batches of `train` or `val`, those of `train` in place of a part that is not there.

        """

    def after_step(self) -> None:
        """Follow the weights that this step has changed, such as with a moving average."""


def weighted_sum(each: Tensor, batch: BatchLike) -> Tensor:
    """Return the sum of (B,) numbers of a batch, each times the weight of its sample."""
    return (each if batch.weight is None else each * batch.weight).sum()


def weighted_count(batch: BatchLike) -> Count:
    """Return the number of samples of a batch, or the sum of their weights."""
    return float(len(batch)) if batch.weight is None else batch.weight.sum()


class OneNetwork(Objective):
    """One network, all of which is stepped at once."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def turns(self, step: int) -> Sequence[str]:
        """Step the network."""
        return ("network",)

    def groups(self) -> dict[str, nn.Module]:
        """Return one group: all of the network."""
        return {"network": self.network}


class Supervised(OneNetwork):
    """One network, one loss of its output against the target."""

    @abstractmethod
    def losses(self, output: Tensor, batch: BatchLike) -> Tensor:
        """Return (B,) losses of float32 outputs."""

    def weights(self, batch: BatchLike) -> Tensor | None:
        """Return the (B,) weights of the samples in the loss, from the data alone; None where all weigh 1."""
        return batch.weight

    def counts(self, batch: BatchLike, turn: str) -> dict[str, Count]:
        """Count the samples, or their weights."""
        return {"loss": self._counted(batch)}

    def forward(self, batch: BatchLike, turn: str, noise: NoiseLike) -> dict[str, Tensor]:
        """Return the one term `loss`."""
        return {"loss": self._summed(self.network(batch.inputs), batch)}

    def evaluate(self, batch: BatchLike, noise: NoiseLike) -> tuple[dict[str, Loss], Tensor | None]:
        """Return the loss, and the network's output or what it decodes."""
        output = self.network(batch.inputs)
        losses = {"loss": Loss(self._summed(output, batch), self.counts(batch, "network")["loss"])}
        return losses, decoded(self.network, batch.inputs, noise, output)

    def total(self, output: Tensor, batch: BatchLike) -> Tensor:
        """Return the sum of unweighted `losses`; a kernel that sums saves small networks a part of their step."""
        return self.losses(output, batch).sum()

    def _counted(self, batch: BatchLike) -> Count:
        weights = self.weights(batch)
        count = float(len(batch)) if weights is None else weights.sum()
        return count if batch.also is None else count + self._counted(batch.also)

    def _summed(self, output: Tensor, batch: BatchLike) -> Tensor:
        weights = self.weights(batch)
        if weights is None:
            return self.total(output.float(), batch)
        total = (self.losses(output.float(), batch) * weights).sum()
        return total if batch.also is None else total + self._summed(output, batch.also)
