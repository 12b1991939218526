"""One attempt of a run: the loop, its checkpoints when they are due, and an ear for requests."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from stoker.job.section import is_time, span_epochs, span_steps, time_seconds
from stoker.training.checkpoint import Checkpoints
from stoker.training.loop import EpochEnd, Event, StepEnd, TrainingEnd, TrainingState, train
from stoker.training.parallel import Workers

LISTEN_S = 0.25
"""Workers agree on requests about this often; alone, a worker listens after every step and every epoch."""
MOST_STEPS = 10_000


@dataclass(frozen=True)
class Saving:
    """A checkpoint is about to be written: what belongs before it must be written now."""

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
    """Somebody asked training to stop; a checkpoint holds where."""

    run: str
    epoch: int
    step: int


def attempt(
    run: str, state: TrainingState, checkpoints: Checkpoints, norm_every: int, request: Callable[[], str]
) -> Iterator[Event | Saving | Saved | Stopped]:
    """Train from a state to its end, or to a request.

    Args:
        run: the run's id.
        state: started, and restored where there is a checkpoint.
        checkpoints: where to save it.
        norm_every: as for `train`.
        request: what somebody asks the first worker for: nothing, or `stop`.

    """
    told = checkpoints.newest
    ear = _Ear(state.assembly.workers, request, _seconds(state))
    for event in train(run, state, norm_every):
        yield event
        if isinstance(event, TrainingEnd):
            break
        late = ear.listen(state)
        over = ear.stop or bool(state.reason)
        if over or late or _due(state, event):
            if over or not state.assembly.workers.first([float(checkpoints.busy)])[0]:
                yield Saving(run, state.epoch, state.step)
                checkpoints.save(state)
            if over:
                checkpoints.finish()
        if told != checkpoints.newest:
            told = checkpoints.newest
            yield Saved(run, *told)
        if ear.stop:
            yield Stopped(run, state.epoch, state.step)
            return


def _seconds(state: TrainingState) -> float | None:
    every = state.assembly.job.training.checkpoint.every
    return time_seconds(every) if is_time(every) else None


def _due(state: TrainingState, event: Event) -> bool:
    """Tell whether a checkpoint by epochs or steps is due; the same for every worker."""
    every = state.assembly.job.training.checkpoint.every
    if is_time(every):
        return False
    if epochs := span_epochs(every):
        return isinstance(event, EpochEnd) and state.epoch % epochs == 0
    prepared = state.assembly.prepared
    distance = max(1, span_steps(every, prepared.steps, prepared.steps_per_epoch))
    return isinstance(event, StepEnd) and state.step % distance == 0


class _Ear:
    """Lets the first worker hear, and its clock decide, for all of them at the same step."""

    def __init__(self, workers: Workers, request: Callable[[], str], every_s: float | None) -> None:
        self.stop = False
        self._workers = workers
        self._request = request
        self._every_s = every_s
        self._heard = self._saved = time.monotonic()
        self._next = 0
        self._step = 0

    def listen(self, state: TrainingState) -> bool:
        """Take in requests, where it is time to; return whether a checkpoint by the clock is due."""
        alone = self._workers.count == 1
        if not alone and state.step < self._next:
            return False
        now = time.monotonic()
        late = self._every_s is not None and now - self._saved >= self._every_s
        steps = 1
        if not alone and self._step:
            pace = (now - self._heard) / max(state.step - self._step, 1)
            steps = min(max(int(LISTEN_S / max(pace, 1e-6)), 1), MOST_STEPS)
        mine = [float(self._request() == "stop"), float(late), float(steps)]
        stop, due, distance = self._workers.first(mine)
        self._heard, self._step, self._next = now, state.step, state.step + int(distance)
        self.stop = bool(stop)
        if due:
            self._saved = now
        return bool(due)
