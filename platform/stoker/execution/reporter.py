"""Reporting of a run's first worker: journal entries, pictures and progress."""

import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from stoker.atomic_files import replace_file
from stoker.tracking.journal import Journal
from stoker.tracking.run import Progress
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.weaknesses import weakness_notes
from stoker.training.events import EpochEnd, StepEnd

PROGRESS_EVERY_S = 0.2
NORM_EVERY = 10
"""Every tenth recorded step also records the gradient norm, which costs a tenth of a small network's step."""
Value = TypeVar("Value")


class Reporter:
    """Turns the loop's events into journal entries and progress, without a device synchronization at each step."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._journal = Journal(folder.journal)
        self._progress = folder.progress()
        self._steps: list[StepEnd] = []
        self._written = 0.0
        self._began = 0.0
        self._first = 0
        """The first step of this attempt."""
        self._newest: dict[str, float] = {}
        """Of each metric of this attempt, some of which not every epoch has."""
        self._pictures: dict[str, int] = {}
        """Steps of this attempt's pictures, by path relative to the folder."""

    def set_phase(self, phase: str) -> None:
        """Write the worker's current activity."""
        self._write(replace(self._progress, phase=phase, seconds_left=0.0))

    def start(self, epochs: int, steps: int, step: int = 0) -> None:
        """Write the length of training.

        Args:
            epochs: of the whole training.
            steps: of the whole training.
            step: where this attempt begins.

        """
        self._began = time.monotonic()
        self._first = step
        self._write(replace(self._progress, phase="training", epochs=epochs, step=step, steps=steps))

    def step(self, event: StepEnd, recorded: bool) -> None:
        """Buffer a step's values until the next flush, and write progress a few times a second."""
        if recorded:
            self._steps.append(event)
        now = time.monotonic()
        if now - self._written >= PROGRESS_EVERY_S or event.step == self._first + 1:
            left = self._seconds_left(event.step)
            self._write(replace(self._progress, epoch=event.epoch, step=event.step, seconds_left=left))
            self.flush()

    def epoch(self, event: EpochEnd) -> None:
        """Write the epoch's metrics, also as a line of the run's log, with what they show for the first time."""
        self.flush()
        self._newest |= event.metrics
        notes, known = weakness_notes(self._newest), self._progress.notes
        self._journal.append(event.step, event.epoch, event.metrics)
        self._journal.flush()
        left = self._seconds_left(event.step)
        place = replace(self._progress, epoch=event.epoch, step=event.step, seconds_left=left)
        self._write(replace(place, metrics=event.metrics, notes=notes))
        lines = [_line(self._progress), *(f"note: {text}" for name, text in notes.items() if name not in known)]
        print("\n".join(lines), file=sys.stderr)  # noqa: T201 - the run's log

    def picture(self, event: EpochEnd, name: str, png: bytes) -> None:
        """Write a picture of an epoch; an attempt that repeats the epoch draws the same one, which has one entry."""
        path = self._folder.pictures / f"{name}-{event.step:012d}.png"
        path.parent.mkdir(exist_ok=True)
        replace_file(path, png)
        key = str(path.relative_to(self._folder.path))
        self._journal.append_picture(event.step, event.epoch, key)
        self._journal.flush()
        self._pictures[key] = event.step

    def pictures_since(self, step: int) -> dict[str, bytes]:
        """Read this attempt's pictures of later steps, by path relative to the run's folder."""
        return {key: (self._folder.path / key).read_bytes() for key, at in self._pictures.items() if at > step}

    def final(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Write the results of the best weights; a metric that the last epoch has written keeps that value."""
        self._journal.append(step, epoch, metrics)
        self._journal.flush()

    def flush(self) -> None:
        """Copy the buffered values from the device in one transfer, and write them."""
        tensors = [tensor for event in self._steps for tensor in _on_device(event)]
        fetched = iter(torch.stack(tensors).double().tolist() if tensors else ())
        for event in self._steps:
            losses = {}
            for term, (_, count) in event.sums.items():
                total = next(fetched)
                losses[f"{term}/step"] = total / ((next(fetched) if isinstance(count, Tensor) else count) or 1.0)
            norms = _by_group("gradient_norm", {group: next(fetched) for group in event.gradient_norms})
            rates = _by_group("learning_rate", event.learning_rates)
            self._journal.append(event.step, event.epoch, losses | norms | rates)
        self._steps.clear()
        self._journal.flush()

    def sync(self) -> None:
        """Flush and sync the journal to disk, before a checkpoint that must not be ahead of it."""
        self.flush()
        self._journal.sync()

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def _seconds_left(self, step: int) -> float:
        """Estimate the remaining time from this attempt's speed."""
        pace = (time.monotonic() - self._began) / max(step - self._first, 1)
        return pace * (self._progress.steps - step)

    def _write(self, progress: Progress) -> None:
        self._progress = progress
        self._written = time.monotonic()
        self._folder.write_progress(progress)


def _line(progress: Progress) -> str:
    """Return a line with the metrics of an epoch."""
    length = f"/{progress.epochs}" if progress.epochs else ""
    metrics = "  ".join(f"{name} {value:.4g}" for name, value in sorted(progress.metrics.items()))
    return f"epoch {progress.epoch}{length}  step {progress.step:,}  {metrics}"


def _on_device(event: StepEnd) -> list[Tensor]:
    """Return a step's values that are still on the device: totals with their counts, then norms."""
    sums = [each for pair in event.sums.values() for each in pair if isinstance(each, Tensor)]
    return [*sums, *event.gradient_norms.values()]


def _by_group(quantity: str, values: Mapping[str, Value]) -> dict[str, Value]:
    """Return the value of each group of parameters by metric name, without the group's name if there is only one."""
    if len(values) == 1:
        return {f"{quantity}/step": value for value in values.values()}
    return {f"{quantity}_{group}/step": value for group, value in values.items()}
