"""The contract of an engine, which trains inside a worker; the rest of a run works with any engine."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from stoker.execution.worker_result import WorkerResult
from stoker.tracking.run_folder import RunFolder

if TYPE_CHECKING:
    from stoker.training.events import EpochEnd  # no import: a script needs no torch here

RECORDED_STEPS = 2_000
"""A run records the losses of about this many steps at most."""


@dataclass(frozen=True)
class Assignment:
    """One worker's part of one attempt."""

    folder: RunFolder
    """Of the run, as this worker sees it."""
    rank: int
    """The first worker, rank 0, writes the record."""
    world_size: int
    """Number of workers."""
    attempt: int
    """Counted from 1."""
    recorded_steps: int = RECORDED_STEPS
    figures: bool = True
    """Whether rank 0 draws pictures during training, and the results."""


class Engine(Protocol):
    """Trains one worker's part of one attempt, from the newest checkpoint on.

    An engine is built from an assignment, the run's job, the worker's heartbeat and its data cache (`ENGINES`). It
    reports its stage, epoch, step and newest checkpoint to the heartbeat, and stops after a checkpoint once the
    heartbeat has the request `stop`. It writes checkpoints to the run's storage. On rank 0 it writes to the run's
    folder: the resolved job unless an earlier attempt has, the journal, the progress, and the model if there is one.
    The result of a success has the fact `data`, the fingerprint of the data.
    """

    def epochs(self, address: str) -> "Generator[EpochEnd, None, WorkerResult]":
        """Join the other workers and train, epoch by epoch; closing the generator stops training.

        Failures are returned, not raised.

        Args:
            address: of the first worker; empty for one alone.

        """

    @property
    def costs(self) -> dict[str, float]:
        """Training time in `seconds` and number of `parameters`, as sweeps compare them; empty before training."""


class FailedEngine:
    """Stands for an engine that could not be built; an `Engine`.

    Args:
        failure: the result of the worker.

    """

    def __init__(self, failure: WorkerResult) -> None:
        self._failure = failure

    @property
    def costs(self) -> dict[str, float]:
        """Return nothing, because nothing was trained."""
        return {}

    def epochs(self, address: str) -> "Generator[EpochEnd, None, WorkerResult]":
        """Return the failure."""
        yield from ()
        return self._failure


def run_to_end(engine: Engine, address: str) -> WorkerResult:
    """Join the other workers and train to the end of the attempt; failures are returned, not raised."""
    epochs = engine.epochs(address)
    while True:
        try:
            next(epochs)
        except StopIteration as end:
            result: WorkerResult = end.value
            return result
