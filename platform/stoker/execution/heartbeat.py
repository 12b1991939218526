"""A worker's heartbeat: written by the thread that trains, read by those that answer the driver."""

import os
import struct
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from stoker.execution.machine import Machine
from stoker.execution.worker_folder import FolderUpdate
from stoker.tracking.system_metrics import STEP_WORK, TOKENS, SystemSample

NOT_STARTED = -1
STEP_FILE = ".step"
"""File in the run's folder with the first worker's last step; it outlives the process."""


class Stage(StrEnum):
    """How far a worker is in an attempt."""

    LOADING = "loading"
    """No step is done; nothing is lost if the worker dies."""
    TRAINING = "training"
    """A stop request takes effect at the next step."""
    SAVING = "saving"
    """A checkpoint, or the model, is being written; training waits for the last checkpoint."""
    ENDING = "ending"


@dataclass(frozen=True)
class Beat:
    """One sample of a worker's heartbeat."""

    stage: Stage
    ticks: int
    """Number of steps, epochs and phases so far; if it stops growing, the worker may hang."""
    busy_s: float
    """CPU time of the process, which distinguishes a long evaluation from a hang."""
    epoch: int
    step: int
    """Steps done so far."""
    checkpoint: tuple[int, int]
    """Epoch and step of the newest checkpoint; zeros without one."""
    update: FolderUpdate | None = None
    """Changes of the worker's folder; None where driver and worker share a disk."""
    system: SystemSample | None = None
    """The newest system metrics, the same ones until others are due."""
    leaving: bool = False
    """Whether its machine is about to be taken away."""
    step_s: float = 0.0
    """Mean time of its own work in a step, without waiting for others; 0 if it is not known."""
    imbalance: float = 1.0
    """How many times the least work of a worker in a step the most is, by the sizes of their shares."""
    machine: Machine | None = None
    """Where it runs."""


class Heartbeat:
    """The state of a worker in an attempt.

    Args:
        steps: file for the last step, which outlives the process; None where other workers can report it.

    """

    def __init__(self, steps: Path | None = None) -> None:
        self.request = ""
        """The driver's request: empty or `stop`."""
        self.epoch = self.step = 0
        self.checkpoint = (0, 0)
        self.step_s, self.imbalance = 0.0, 1.0
        self.trained = (0, 0.0)
        """Tokens of texts and seconds of the steps so far."""
        self._sampled = self.trained
        self._stage = Stage.LOADING
        self._ticks = 0
        self._file = None if steps is None else os.open(steps, os.O_RDWR | os.O_CREAT, 0o644)
        self._write(NOT_STARTED)

    def enter(self, stage: Stage) -> None:
        """Enter a stage."""
        self._stage = stage
        self._ticks += 1

    @property
    def began(self) -> bool:
        """Return whether training has begun."""
        return self._stage is not Stage.LOADING

    def advance(self, epoch: int, step: int) -> None:
        """Set the progress; also ends the SAVING stage."""
        self.epoch, self.step = epoch, step
        self._ticks += 1
        if self._stage is Stage.SAVING:
            self._stage = Stage.TRAINING
        self._write(step)

    def tokens_per_s(self) -> float:
        """Return the tokens per second of the steps since the last call; 0 for no steps, or no texts."""
        (tokens, seconds), (tokens_before, seconds_before) = self.trained, self._sampled
        self._sampled = (tokens, seconds)
        return (tokens - tokens_before) / (seconds - seconds_before) if seconds > seconds_before else 0.0

    def work(self) -> dict[str, float]:
        """Return the time of the worker's own work in a step and its tokens per second, where they are known."""
        found = {STEP_WORK: self.step_s * 1e3, TOKENS: self.tokens_per_s()}
        return {name: value for name, value in found.items() if value}

    def beat(self) -> Beat:
        """Return a sample of the current state."""
        busy_s = time.process_time()
        return Beat(
            self._stage,
            self._ticks,
            busy_s,
            self.epoch,
            self.step,
            self.checkpoint,
            step_s=self.step_s,
            imbalance=self.imbalance,
        )

    def close(self) -> None:
        """Close the step file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, step: int) -> None:
        if self._file is not None:
            os.pwrite(self._file, struct.pack("<q", step), 0)


def read_last_step(steps: Path) -> int:
    """Read the last step of a dead worker; NOT_STARTED also where its file is missing or incomplete."""
    try:
        content = steps.read_bytes()
    except OSError:
        return NOT_STARTED
    return int(struct.unpack("<q", content)[0]) if len(content) == struct.calcsize("<q") else NOT_STARTED
