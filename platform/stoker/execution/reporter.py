"""What a worker says while it trains: journal entries and progress."""

import time
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from stoker.tracking.journal import Journal
from stoker.tracking.record import Progress, RunFolder
from stoker.training.assembly import Prepared
from stoker.training.loop import EpochEnd, StepEnd

PROGRESS_EVERY_S = 0.2


class Cancelled(Exception):
    """Somebody asked the run to end."""


class Reporter:
    """Turns the loop's events into journal entries and progress, without asking the device at each step."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._journal = Journal(folder.journal)
        self._progress = Progress()
        self._steps: list[StepEnd] = []
        self._curves: set[str] = set()
        """Metrics that each epoch writes."""
        self._written = 0.0
        self._began = 0.0

    def say(self, phase: str) -> None:
        """Tell what the worker is busy with."""
        self._write(replace(self._progress, phase=phase, seconds_left=0.0))

    def begin(self, prepared: Prepared) -> None:
        """Tell how long training will be."""
        self._began = time.monotonic()
        self._write(replace(self._progress, phase="training", epochs=prepared.epochs, steps=prepared.steps))

    def step(self, event: StepEnd, recorded: bool) -> None:
        """Keep a step's values for the next flush, and show progress a few times a second."""
        if recorded:
            self._steps.append(event)
        now = time.monotonic()
        if now - self._written >= PROGRESS_EVERY_S or event.step == 1:
            left = (now - self._began) / event.step * (self._progress.steps - event.step)
            self._write(replace(self._progress, epoch=event.epoch, step=event.step, seconds_left=left))
            self.flush()

    def epoch(self, event: EpochEnd) -> None:
        """Write the epoch's metrics."""
        self.flush()
        self._journal.append(event.step, event.epoch, event.metrics)
        self._journal.flush()
        self._curves.update(event.metrics)
        elapsed = time.monotonic() - self._began
        left = elapsed / event.step * (self._progress.steps - event.step)
        self._write(
            replace(self._progress, epoch=event.epoch, step=event.step, seconds_left=left, metrics=event.metrics)
        )

    def final(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Write the results of the best weights, but for the metrics that have a curve."""
        rest = {key: value for key, value in metrics.items() if key not in self._curves}
        if rest:
            self._journal.append(step, epoch, rest)
            self._journal.flush()

    def flush(self) -> None:
        """Fetch the kept values from the device, all at once, and write them."""
        kept = [_measured(event) for event in self._steps]
        tensors = [tensor.double() for values in kept for tensor in values.values()]
        fetched = iter(torch.stack(tensors).tolist() if tensors else ())
        for event, values in zip(self._steps, kept, strict=True):
            metrics = {key: next(fetched) for key in values}
            self._journal.append(event.step, event.epoch, {**metrics, "learning_rate/step": event.learning_rate})
        self._steps.clear()
        self._journal.flush()

    def _write(self, progress: Progress) -> None:
        self._progress = progress
        self._written = time.monotonic()
        self._folder.write_progress(progress)
        if self._folder.cancel_request.exists():
            raise Cancelled


def _measured(event: StepEnd) -> dict[str, Tensor]:
    """Name the values of a step that are still on the device."""
    losses = {f"{term}/step": value for term, value in event.losses.items()}
    return losses if event.gradient_norm is None else {**losses, "gradient_norm/step": event.gradient_norm}
