"""How long a worker's own work in a step takes, without what it waits for others.

All workers of a run take their steps together, so that the time of a whole step does not tell which of them is slow.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

STEPS = 100
"""Steps of one measurement."""


class Stopwatch:
    """Measures the work of one worker in its steps.

    The first steps, which warm up, are not counted. On a GPU it is the time between marks in its stream, which are read
    after as many more steps, so that nothing waits for them.

    Args:
        device: that computes.

    """

    def __init__(self, device: torch.device) -> None:
        self.step_s = 0.0
        """Mean of the last complete measurement; 0 before the first."""
        self._mark: Callable[[], Any] = time.perf_counter if device.type == "cpu" else _device_mark
        self._lag = 1 if device.type == "cpu" else 2
        self._begun: Any = None
        self._pieces: list[list[tuple[Any, Any]]] = [[]]
        """Of each measurement that is not read yet; the last one is going on."""
        self._steps = 0

    def start(self) -> None:
        """Work begins."""
        self._begun = self._mark()

    def stop(self) -> None:
        """Work ends; time until the next start does not count."""
        if self._begun is not None:
            self._pieces[-1].append((self._begun, self._mark()))
            self._begun = None

    def end_step(self) -> None:
        """Work ends, and with it a step."""
        self.stop()
        self._steps += 1
        if self._steps % STEPS:
            return
        if self._steps == STEPS:
            self._pieces.clear()
        elif len(self._pieces) == self._lag:
            self.step_s = sum(_seconds(begin, end) for begin, end in self._pieces.pop(0)) / STEPS
        self._pieces.append([])

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Wait for other workers in the block."""
        working = self._begun is not None
        self.stop()
        yield
        if working:
            self.start()


def _device_mark() -> torch.cuda.Event:
    mark = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    mark.record()
    return mark


def _seconds(begin: Any, end: Any) -> float:
    if isinstance(end, float):
        return end - float(begin)
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1e3
