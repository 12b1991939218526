"""A worker's signs of life, written by the thread that trains and read by those that answer."""

import os
import struct
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from stoker.execution.worker_folder import FolderUpdate

NOT_STARTED = -1
STEP_FILE = ".step"
"""Of the run's folder: where its first worker was when it died."""


class Stage(StrEnum):
    """How far a worker is in an attempt."""

    LOADING = "loading"
    """Nothing is trained yet, and nothing is lost if the worker goes away."""
    TRAINING = "training"
    """A request to stop is heard."""
    SAVING = "saving"
    """A checkpoint is being taken; where it is the last one, training waits until it is written."""
    ENDING = "ending"


@dataclass(frozen=True)
class Beat:
    """A worker's sign of life."""

    stage: Stage
    ticks: int
    """Counts steps, epochs and phases: where it stands still, nothing goes on."""
    busy_s: float
    """CPU time of the process: a long evaluation is no hang."""
    epoch: int
    step: int
    """Steps done so far."""
    checkpoint: tuple[int, int]
    """Epoch and step of the newest checkpoint; zeros without one."""
    update: FolderUpdate | None = None
    """What has changed in the worker's folder; None where driver and worker share a disk."""


class Heartbeat:
    """What a worker is doing in an attempt.

    Args:
        steps: a file that outlives the process and tells where it died; None where other workers can tell it.

    """

    def __init__(self, steps: Path | None = None) -> None:
        self.request = ""
        """What the driver asks for: nothing, or `stop`."""
        self.epoch = self.step = 0
        self.checkpoint = (0, 0)
        self._stage = Stage.LOADING
        self._ticks = 0
        self._file = None if steps is None else os.open(steps, os.O_RDWR | os.O_CREAT, 0o644)
        self._write(NOT_STARTED)

    def enter(self, stage: Stage) -> None:
        """Say how far the attempt is."""
        self._stage = stage
        self._ticks += 1

    @property
    def began(self) -> bool:
        """Whether the attempt came to train."""
        return self._stage is not Stage.LOADING

    def advance(self, epoch: int, step: int) -> None:
        """Say what is done."""
        self.epoch, self.step = epoch, step
        self._ticks += 1
        if self._stage is Stage.SAVING:
            self._stage = Stage.TRAINING
        self._write(step)

    def beat(self) -> Beat:
        """Take all of it at one moment."""
        return Beat(self._stage, self._ticks, time.process_time(), self.epoch, self.step, self.checkpoint)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, step: int) -> None:
        if self._file is not None:
            os.pwrite(self._file, struct.pack("<q", step), 0)


def read_last_step(steps: Path) -> int:
    """Read where a dead worker was; NOT_STARTED also where it left no word."""
    try:
        content = steps.read_bytes()
    except OSError:
        return NOT_STARTED
    return int(struct.unpack("<q", content)[0]) if len(content) == struct.calcsize("<q") else NOT_STARTED
