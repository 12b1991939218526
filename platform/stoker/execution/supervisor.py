"""One attempt, watched until it ends: who failed first, who hangs, and what somebody asks for meanwhile."""

import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from stoker.errors import Cause
from stoker.execution.heartbeat import Beat, Stage
from stoker.execution.stop_requests import StopReason
from stoker.execution.worker_result import WorkerResult

BUSY = 0.1
"""Share of a core from which a worker counts as computing; answering alone takes a hundredth."""


@dataclass(frozen=True)
class Timeouts:
    """How long to wait for what, in seconds."""

    poll_s: float = 0.1
    heartbeat_s: float = 1.0
    """Between two signs of life."""
    stop_grace_s: float = 30.0
    """Workers that were asked to stop hear it between two steps, so they have this long to begin their checkpoint; who
    has not begun to train has none to write, and a beat's time to say otherwise."""
    pause_grace_s: float = 300.0
    """The same where nobody waits for them to be gone: a pause, or the end of the run's time. An evaluation may go on
    for long."""
    checkpoint_s: float = 600.0
    """The checkpoint itself may take this long."""
    peer_failure_s: float = 10.0
    """Where one worker has failed, the others notice by then, or never."""
    spare_after_s: float = 10.0
    """Training goes on for so long before a spare worker loads its libraries: MLflow's load beside it until then."""
    unresponsive_s: float = 60.0
    """A worker that trains answers by then, or hangs."""
    stall_s: float = 300.0
    """Workers that train hang where they neither finish a step nor compute for so long; and one that does not answer
    while it loads."""
    busy_stall_s: float = 3600.0
    """Also what computes or loads for so long hangs."""


class SupervisedWorkers(Protocol):
    """Workers that are at work."""

    count: int

    def poll(self, timeout_s: float) -> dict[int, WorkerResult]:
        """Wait a moment for results; return the new ones by rank."""

    def beats(self) -> dict[int, Beat]:
        """Return the signs of life that have come in, by rank."""

    def request(self, request: str) -> None:
        """Ask all that are at work for something."""

    def stack_traces(self) -> str:
        """Tell where all that are at work stand."""

    def kill(self, ranks: Iterable[int]) -> None:
        """End workers at once."""

    def start_spare(self) -> None:
        """Have a worker in reserve from now on."""


class Supervisor:
    """Follows one attempt.

    Args:
        group: the workers, at work.
        stop: tells what somebody asks for.
        on_beat: gets the first worker's signs of life.
        timeouts: how long to wait for what.

    """

    def __init__(
        self,
        group: SupervisedWorkers,
        stop: Callable[[], StopReason | None],
        on_beat: Callable[[Beat], None],
        timeouts: Timeouts,
    ) -> None:
        self._group = group
        self._stop = stop
        self._on_beat = on_beat
        self._results: dict[int, WorkerResult] = {}
        self._timeouts = timeouts
        self._health = [WorkerHealth(timeouts) for _ in range(group.count)]
        self._asked = self._survivors_end = self._training_since = math.inf

    def run(self) -> WorkerResult:
        """Return how the attempt ended, all its workers considered."""
        before = heard = time.monotonic()
        while running := self._running():
            self._results |= self._group.poll(self._timeouts.poll_s)
            now = time.monotonic()
            for rank in running:  # a machine that slept for an hour has not waited for an hour
                self._health[rank].wait(min(now - before, self._timeouts.heartbeat_s))
            before = now
            self._end_survivors(now)
            asked = self._forward_stop(now)
            if asked:
                self._group.request("stop")
            if asked or not self._health[0].began or now - heard >= self._timeouts.heartbeat_s:
                heard = now
                self._check_health(now)
        return attempt_result(self._results)

    def _running(self) -> list[int]:
        return [rank for rank in range(self._group.count) if rank not in self._results]

    def _end_survivors(self, now: float) -> None:
        """Where a worker has failed, wait a moment for the others to notice."""
        if any(result.outcome == "failed" for result in self._results.values()):
            self._survivors_end = min(self._survivors_end, now + self._timeouts.peer_failure_s)
        if now >= self._survivors_end:
            lost = WorkerResult("failed", Cause.INFRASTRUCTURE, "it did not notice that it lost its peers")
            self._kill(replace(lost, lost_peers=True))

    def _forward_stop(self, now: float) -> bool:
        """Hand a request on, and insist on it; return whether there is one."""
        stop = self._stop()
        if stop is None:
            return False
        self._asked = min(self._asked, now)
        if now >= self._asked + self._grace_s(stop):
            self._kill(WorkerResult("stopped"))
        return True

    def _grace_s(self, stop: StopReason) -> float:
        """Tell how long after it was asked an attempt may go on."""
        timeouts, first = self._timeouts, self._health[0]
        if not first.began:
            return timeouts.heartbeat_s
        if first.saves:
            return timeouts.checkpoint_s
        return timeouts.pause_grace_s if stop in (StopReason.PAUSE, StopReason.TIMEOUT) else timeouts.stop_grace_s

    def _check_health(self, now: float) -> None:
        """Take in signs of life, and the absence of them."""
        beats = self._group.beats()
        for rank, beat in beats.items():
            self._health[rank].take(beat)
        if (first := beats.get(0)) is not None:
            self._on_beat(first)
            if first.stage is Stage.TRAINING:
                self._training_since = min(self._training_since, now)
        if now >= self._training_since + self._timeouts.spare_after_s:
            self._group.start_spare()
        running = self._running()
        silent = [rank for rank in running if self._health[rank].silent]
        if silent or (running and all(self._health[rank].hangs for rank in running)):
            print(f"the workers hang\n{self._group.stack_traces()}", file=sys.stderr)  # noqa: T201 - the run's log
            who = f"worker {silent[0]} does not answer" if silent else "no worker gets any further"
            self._kill(WorkerResult("failed", Cause.HANG, f"{who}; the log has the stacks of all"))

    def _kill(self, result: WorkerResult) -> None:
        """End all that still run; this is how they ended."""
        running = self._running()
        self._group.kill(running)
        for rank in running:
            health = self._health[rank]
            self._results[rank] = replace(result, step=health.step, began=health.began, checkpoint=health.checkpoint)


@dataclass
class WorkerHealth:
    """How long a worker has not answered, and how long it has got no further."""

    timeouts: Timeouts
    beat: Beat | None = None
    """Its last sign of life."""
    silent_s: float = 0.0
    still_s: float = 0.0
    busy_s: float = 0.0
    """Its CPU time when it last got further."""

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.silent_s += seconds
        self.still_s += seconds

    def take(self, beat: Beat) -> None:
        """Take in a sign of life."""
        self.silent_s = 0.0
        if self.beat is None or beat.ticks != self.beat.ticks:
            self.still_s, self.busy_s = 0.0, beat.busy_s
        self.beat = beat

    @property
    def began(self) -> bool:
        """Whether it came to train."""
        return self.beat is not None and self.beat.stage is not Stage.LOADING

    @property
    def saves(self) -> bool:
        """Whether it takes a checkpoint, or waits until the last one is written."""
        return self.beat is not None and self.beat.stage is Stage.SAVING

    @property
    def silent(self) -> bool:
        """Whether it has not answered for too long."""
        return self.silent_s >= (self.timeouts.unresponsive_s if self.began else self.timeouts.stall_s)

    @property
    def hangs(self) -> bool:
        """Whether it has got no further for too long."""
        if self.saves:
            return self.still_s >= self.timeouts.checkpoint_s
        if self.beat is None or not self.began or self.beat.busy_s - self.busy_s >= BUSY * self.still_s:
            return self.still_s >= self.timeouts.busy_stall_s
        return self.still_s >= self.timeouts.stall_s

    @property
    def step(self) -> int:
        """Steps that it was known to have done."""
        return self.beat.step if self.beat else 0

    @property
    def checkpoint(self) -> tuple[int, int]:
        """Epoch and step of the newest checkpoint that it on_beat of."""
        return self.beat.checkpoint if self.beat else (0, 0)


def attempt_result(results: Mapping[int, WorkerResult]) -> WorkerResult:
    """Tell how an attempt ended.

    The first worker ends last and has everything, so its success is all workers'. A failure's cause is that of the
    worker that failed of itself, not of those that lost it; where one was simply gone, another's odd words come of it.

    Args:
        results: by rank, in the order in which they came.

    """
    if results[0].outcome == "succeeded":
        return results[0]
    everyone = results.values()
    failed = sorted(
        (result for result in everyone if result.outcome == "failed"),
        key=lambda result: (result.lost_peers, result.cause == Cause.INTERNAL),
    )
    return replace(
        failed[0] if failed else results[0],
        step=max(result.step for result in everyone),
        began=any(result.began for result in everyone),
        checkpoint=max((result.checkpoint for result in everyone), key=lambda place: place[1]),
    )
