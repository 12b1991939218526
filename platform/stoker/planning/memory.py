"""The memory of a worker and what it sends in a step, estimated from shapes alone."""

from dataclasses import dataclass

from torch import nn

from stoker.architectures.network import parameter_count, trained_count
from stoker.job.training import Muon, Optimizer, Sgd
from stoker.training.preparation import Prepared

BYTES = 4
MIB = 2**20
PROCESS_MIB = 450
"""A worker with torch and Ray loaded, before its first tensor."""


@dataclass(frozen=True)
class Memory:
    """Memory of a worker in MiB; with a GPU, all but `process` is on it."""

    process: float
    data: float
    weights: float
    """With the best ones so far, and with a moving average if there is one."""
    gradients: float
    optimizer: float
    activations: float
    """Outputs of the layers for a micro-batch, and their gradients."""

    @property
    def total(self) -> float:
        """Return the sum."""
        return self.process + self.data + self.weights + self.gradients + self.optimizer + self.activations


@dataclass(frozen=True)
class Size:
    """How large a network is."""

    parameters: int
    trained: int
    """Parameters that training changes."""


def size_of(network: nn.Module) -> Size:
    """Count the parameters of a network."""
    return Size(parameter_count(network), trained_count(network))


def memory_of(prepared: Prepared, size: Size, outputs: int) -> Memory:
    """Estimate the memory of a worker.

    Args:
        prepared: the job and its data.
        size: of the network.
        outputs: numbers that the layers put out for one sample.

    """
    chosen = prepared.job.training.optimizer
    states = max(_states(each) for each in (chosen.values() if isinstance(chosen, dict) else [chosen]))
    least = prepared.job.resources.least_workers
    share = BYTES / MIB / (least if prepared.job.training.parallel == "fsdp" else 1)
    held, trained = size.parameters * share, size.trained * share
    return Memory(
        process=PROCESS_MIB,
        data=sum(part.nbytes for part in prepared.data.parts.values()) / MIB,
        weights=held + trained + (trained if prepared.job.training.ema else 0),
        gradients=trained,
        optimizer=states * trained,
        activations=2 * outputs * BYTES * prepared.micro_batch / MIB,
    )


def exchange_mib(prepared: Prepared, size: Size) -> float:
    """Return what a worker sends in a step, in MiB, if the workers form a ring; 0 for one alone.

    Gradients are summed and returned: twice. Divided weights are gathered for each forward and each backward pass, and
    gradients are summed where they stay, for each micro-batch. Gathered in bf16, weights take half of that.
    """
    count, share = _workers(prepared), -(-prepared.batch_size // _workers(prepared))
    sent, training = 2 * size.trained, prepared.job.training
    if training.parallel == "fsdp":
        gathered = (1 if training.precision == "bf16" else 2) * size.parameters
        sent = (gathered + size.trained) * -(-share // prepared.micro_batch)
    return sent * BYTES / MIB * (count - 1) / count


def _workers(prepared: Prepared) -> int:
    return prepared.job.resources.most_workers


def _states(optimizer: Optimizer) -> int:
    """Return how many numbers an optimizer remembers for each weight."""
    return (1 if optimizer.momentum else 0) if isinstance(optimizer, Sgd) else 1 if isinstance(optimizer, Muon) else 2
