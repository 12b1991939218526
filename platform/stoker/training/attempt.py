"""One attempt of a run: the loop, its checkpoints when they are due, and requests to stop."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from stoker.job.section import is_time, span_epochs, span_steps, time_seconds
from stoker.training.checkpoint import Checkpoints
from stoker.training.events import EpochEnd, Event, StepEnd, TrainingEnd
from stoker.training.loop import train
from stoker.training.parallel import Workers
from stoker.training.state import TrainingState

POLL_S = 0.25
"""Workers agree on requests about this often; a single worker polls after every step and every epoch."""
MAX_STEPS = 10_000


@dataclass(frozen=True)
class Saving:
    """A checkpoint is about to be written; the record up to here must be written first."""

    run: str
    epoch: int
    step: int


@dataclass(frozen=True)
class Saved:
    """A checkpoint exists."""

    run: str
    epoch: int
    step: int


@dataclass(frozen=True)
class Stopped:
    """Training stopped on request; a checkpoint holds the state."""

    run: str
    epoch: int
    step: int


def attempt(
    run: str, state: TrainingState, checkpoints: Checkpoints, norm_every: int, request: Callable[[], str]
) -> Iterator[Event | Saving | Saved | Stopped]:
    """Train from a state to its end, or until a request to stop.

    Args:
        run: the run's id.
        state: started, and restored if there is a checkpoint.
        checkpoints: where to save it.
        norm_every: as for `train`.
        request: returns the request to the first worker: empty or `stop`.

    """
    reported = checkpoints.newest
    requests = _RequestPoll(state.assembly.workers, request, _seconds(state))
    for event in train(run, state, norm_every):
        yield event
        if isinstance(event, TrainingEnd):
            break
        due = requests.poll(state) or _due(state, event)
        over = requests.stop or bool(state.reason)
        if over or due:
            if over or not state.assembly.workers.broadcast_numbers([float(checkpoints.busy)])[0]:
                yield Saving(run, state.epoch, state.step)
                checkpoints.save(state)
            if over:
                checkpoints.finish()
        if reported != checkpoints.newest:
            reported = checkpoints.newest
            yield Saved(run, *reported)
        if requests.stop:
            yield Stopped(run, state.epoch, state.step)
            return


def _seconds(state: TrainingState) -> float | None:
    every = state.assembly.job.training.checkpoint.every
    return time_seconds(every) if is_time(every) else None


def _due(state: TrainingState, event: Event) -> bool:
    """Return whether a checkpoint by epochs or steps is due; the same for every worker."""
    every = state.assembly.job.training.checkpoint.every
    if is_time(every):
        return False
    if epochs := span_epochs(every):
        return isinstance(event, EpochEnd) and state.epoch % epochs == 0
    prepared = state.assembly.prepared
    distance = max(1, span_steps(every, prepared.steps, prepared.steps_per_epoch))
    return isinstance(event, StepEnd) and state.step % distance == 0


class _RequestPoll:
    """Requests and clock of the first worker, which take effect on all workers at the same step."""

    def __init__(self, workers: Workers, request: Callable[[], str], every_s: float | None) -> None:
        self.stop = False
        self._workers = workers
        self._request = request
        self._every_s = every_s
        self._polled = self._saved = time.monotonic()
        self._next = 0
        self._step = 0

    def poll(self, state: TrainingState) -> bool:
        """Update `stop`, if a poll is due; return whether a checkpoint by the clock is due."""
        alone = self._workers.count == 1
        if not alone and state.step < self._next:
            return False
        now = time.monotonic()
        late = self._every_s is not None and now - self._saved >= self._every_s
        steps = 1
        if not alone and self._step:
            pace_s = (now - self._polled) / max(state.step - self._step, 1)
            steps = min(max(int(POLL_S / max(pace_s, 1e-6)), 1), MAX_STEPS)
        mine = [float(self._request() == "stop"), float(late), float(steps)]
        stop, due, distance = self._workers.broadcast_numbers(mine)
        self._polled, self._step, self._next = now, state.step, state.step + int(distance)
        self.stop = bool(stop)
        if due:
            self._saved = now
        return bool(due)
