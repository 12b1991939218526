"""Supervision of one attempt: failed and hanging workers, and stop requests."""

import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from stoker.errors import Cause
from stoker.execution.heartbeat import Beat, Stage
from stoker.execution.machine import Machine
from stoker.execution.stop_requests import StopReason
from stoker.execution.stragglers import stragglers
from stoker.execution.worker_result import WorkerResult
from stoker.tracking.system_metrics import SystemSample

BUSY_SHARE = 0.1
"""Share of a core from which a worker counts as computing; answering the driver takes a hundredth."""


@dataclass(frozen=True)
class Timeouts:
    """Timeouts of an attempt, in seconds."""

    poll_s: float = 0.1
    heartbeat_s: float = 1.0
    """Between two heartbeats."""
    stop_grace_s: float = 30.0
    """From a stop request to the start of the checkpoint: workers check for requests between steps. A worker that does
    not train yet has no checkpoint to write, and gets only `heartbeat_s`.
    """
    pause_grace_s: float = 300.0
    """The same for a pause or a timeout, where no user waits; a long evaluation may be running."""
    checkpoint_s: float = 600.0
    """For writing the checkpoint."""
    peer_failure_s: float = 10.0
    """From a worker's failure until the others must have noticed it."""
    grow_after_s: float = 10.0
    """Training time before more workers may join: each time costs a restart."""
    spare_after_s: float = 10.0
    """Training time before the spare worker imports its libraries; MLflow imports its own until then."""
    unresponsive_s: float = 60.0
    """A training worker that does not answer for so long hangs."""
    stall_s: float = 300.0
    """Training workers hang if none of them completes a step or computes for so long; a loading one if it does not
    answer."""
    busy_stall_s: float = 3600.0
    """Workers that compute or load for so long hang, too."""


class SupervisedWorkers(Protocol):
    """A running group of workers."""

    count: int

    def poll(self, timeout_s: float) -> dict[int, WorkerResult]:
        """Wait for results until the timeout; return the new ones by rank."""

    def beats(self) -> dict[int, Beat]:
        """Return the heartbeats that have arrived, by rank."""

    def request(self, request: str) -> None:
        """Send a request to all running workers."""

    def stack_traces(self) -> str:
        """Return the stack traces of all running workers."""

    def kill(self, ranks: Iterable[int]) -> None:
        """Kill workers."""

    def start_spare(self) -> None:
        """Start a spare worker."""

    def joining(self) -> int:
        """Return how many more workers wait for the next attempt."""


class Supervisor:
    """Follows one attempt to its end.

    Args:
        group: the running workers.
        stop: returns the current stop request.
        on_beat: called with the first worker's heartbeats.
        on_system: called with a worker's rank and its system metrics.
        timeouts: of the attempt.
        on_slow: called with descriptions of the stragglers when they are others than before.

    """

    def __init__(
        self,
        group: SupervisedWorkers,
        stop: Callable[[], StopReason | None],
        on_beat: Callable[[Beat], None],
        on_system: Callable[[int, SystemSample], None],
        timeouts: Timeouts,
        on_slow: Callable[[list[str]], None] = lambda _: None,
    ) -> None:
        self._group = group
        self._stop = stop
        self._on_beat = on_beat
        self._on_system = on_system
        self._on_slow = on_slow
        self._slow: set[int] = set()
        self._named: set[int] = set()
        """Stragglers that the log has."""
        self._results: dict[int, WorkerResult] = {}
        self._sampled: dict[int, int] = {}
        """Time of the last system metrics, by rank."""
        self._timeouts = timeouts
        self._health = [WorkerHealth(timeouts) for _ in range(group.count)]
        self._stop_requested_at = self._survivors_end = self._training_since = math.inf
        self.leaving: dict[int, str] = {}
        """Ray nodes that are about to be taken away, by rank of a worker on them."""
        self._stopped_for: StopReason | None = None
        self._joining = 0
        """More workers that wait for the next attempt."""

    def run(self) -> WorkerResult:
        """Wait for all workers and return the attempt's result."""
        last_poll = last_check = time.monotonic()
        while running := self._running():
            results = self._group.poll(self._timeouts.poll_s)
            self._results |= results
            self._report_system({rank: result.system for rank, result in results.items()})
            now = time.monotonic()
            for rank in running:  # the sleep of a suspended machine does not count
                self._health[rank].wait(min(now - last_poll, self._timeouts.heartbeat_s))
            last_poll = now
            self._end_survivors(now)
            stopping = self._forward_stop(now)
            if stopping:
                self._group.request("stop")
            if stopping or not self._health[0].began or now - last_check >= self._timeouts.heartbeat_s:
                last_check = now
                self._check_health(now)
        result = attempt_result(self._results)
        if result.outcome != "stopped" or self._stop() is not None:
            return result
        if self.leaving:
            rank = min(self.leaving)
            return replace(result, message=f"the node of worker {rank} is being taken away; its step is saved")
        if self._joining:
            message = f"{self._joining} more worker{'s' if self._joining > 1 else ''} can join; the step is saved"
            return replace(result, message=message, grows=True)
        return result

    def _running(self) -> list[int]:
        return [rank for rank in range(self._group.count) if rank not in self._results]

    def _end_survivors(self, now: float) -> None:
        """Kill workers that do not notice another one's failure in time."""
        if any(result.outcome == "failed" for result in self._results.values()):
            self._survivors_end = min(self._survivors_end, now + self._timeouts.peer_failure_s)
        if now >= self._survivors_end:
            lost = WorkerResult("failed", Cause.INFRASTRUCTURE, "it did not notice that it lost its peers")
            self._kill(replace(lost, lost_peers=True))

    def _forward_stop(self, now: float) -> bool:
        """Check for a stop request, and kill workers that ignore it; return whether there is one."""
        inner = StopReason.LEAVING if self.leaving else StopReason.GROWING if self._joining else None
        stop = self._stop() or inner
        if stop is None:
            return False
        if self._stopped_for in (None, StopReason.GROWING) and stop is not self._stopped_for:
            self._stop_requested_at = now  # nobody has waited while the run was about to grow
            self._stopped_for = stop
        if now >= self._stop_requested_at + self._grace_s(stop):
            self._kill(WorkerResult("stopped"))
        return True

    def _grace_s(self, stop: StopReason) -> float:
        """Return how long an attempt may continue after a stop request."""
        if stop is StopReason.GROWING:
            return math.inf  # nothing is won by losing steps
        timeouts, first = self._timeouts, self._health[0]
        if not first.began:
            return timeouts.heartbeat_s
        if first.saves:
            return timeouts.checkpoint_s
        return timeouts.pause_grace_s if stop in (StopReason.PAUSE, StopReason.TIMEOUT) else timeouts.stop_grace_s

    def _check_health(self, now: float) -> None:
        """Read heartbeats, and kill hanging workers."""
        beats = self._group.beats()
        for rank, beat in beats.items():
            self._health[rank].take(beat)
            if beat.leaving and beat.machine is not None:
                self.leaving[rank] = beat.machine.ray_node
        self._report_system({rank: (beat.system,) if beat.system else () for rank, beat in beats.items()})
        self._report_slow()
        if (first := beats.get(0)) is not None:
            self._on_beat(first)
            if first.stage is Stage.TRAINING:
                self._training_since = min(self._training_since, now)
        if now >= self._training_since + self._timeouts.spare_after_s:
            self._group.start_spare()
        if now >= self._training_since + self._timeouts.grow_after_s and self._stopped_for is None:
            self._joining = self._group.joining()
        running = self._running()
        silent = [rank for rank in running if self._health[rank].silent]
        if silent or (running and all(self._health[rank].hangs for rank in running)):
            print(f"the workers hang\n{self._group.stack_traces()}", file=sys.stderr)  # noqa: T201 - the run's log
            who = f"worker {silent[0]} does not answer" if silent else "no worker makes progress"
            machine = self._health[silent[0]].machine if silent else None
            self._kill(WorkerResult("failed", Cause.HANG, f"{who}; the log has all stack traces", machine=machine))

    def _report_system(self, received: Mapping[int, tuple[SystemSample, ...]]) -> None:
        """Report the samples that are newer than those before."""
        for rank, samples in received.items():
            for sample in samples:
                if sample.time_ms > self._sampled.get(rank, 0):
                    self._sampled[rank] = sample.time_ms
                    self._on_system(rank, sample)

    def _report_slow(self) -> None:
        """Report the stragglers, if they are others than before."""
        known = enumerate(self._health)
        slow = stragglers({rank: health.beat for rank, health in known if health.beat is not None}, self._slow)
        if slow.keys() != self._slow:
            for rank in slow.keys() - self._named:
                print(f"the others wait for {slow[rank]}", file=sys.stderr)  # noqa: T201 - the run's log
            self._slow = set(slow)
            self._named |= self._slow
            self._on_slow(list(slow.values()))

    def _kill(self, result: WorkerResult) -> None:
        """Kill all running workers and record this result for them."""
        running = self._running()
        self._group.kill(running)
        for rank in running:
            health = self._health[rank]
            self._results[rank] = replace(result, step=health.step, began=health.began, checkpoint=health.checkpoint)


@dataclass
class WorkerHealth:
    """How long a worker has not answered, and how long it has made no progress."""

    timeouts: Timeouts
    beat: Beat | None = None
    """Its last heartbeat."""
    silent_s: float = 0.0
    still_s: float = 0.0
    busy_s: float = 0.0
    """Its CPU time when it last made progress."""

    def wait(self, seconds: float) -> None:
        """Add elapsed time."""
        self.silent_s += seconds
        self.still_s += seconds

    def take(self, beat: Beat) -> None:
        """Record a heartbeat."""
        self.silent_s = 0.0
        if self.beat is None or beat.ticks != self.beat.ticks:
            self.still_s, self.busy_s = 0.0, beat.busy_s
        self.beat = beat

    @property
    def began(self) -> bool:
        """Return whether training has begun."""
        return self.beat is not None and self.beat.stage is not Stage.LOADING

    @property
    def saves(self) -> bool:
        """Return whether it writes a checkpoint, or waits for the last one to be written."""
        return self.beat is not None and self.beat.stage is Stage.SAVING

    @property
    def silent(self) -> bool:
        """Return whether it has not answered for too long."""
        return self.silent_s >= (self.timeouts.unresponsive_s if self.began else self.timeouts.stall_s)

    @property
    def hangs(self) -> bool:
        """Return whether it has made no progress for too long."""
        if self.saves:
            return self.still_s >= self.timeouts.checkpoint_s
        if self.beat is None or not self.began or self.beat.busy_s - self.busy_s >= BUSY_SHARE * self.still_s:
            return self.still_s >= self.timeouts.busy_stall_s
        return self.still_s >= self.timeouts.stall_s

    @property
    def machine(self) -> Machine | None:
        """Return where it runs, if that is known."""
        return self.beat.machine if self.beat else None

    @property
    def step(self) -> int:
        """Return the last reported step."""
        return self.beat.step if self.beat else 0

    @property
    def checkpoint(self) -> tuple[int, int]:
        """Return epoch and step of the last reported checkpoint."""
        return self.beat.checkpoint if self.beat else (0, 0)


def attempt_result(results: Mapping[int, WorkerResult]) -> WorkerResult:
    """Combine the workers' results.

    Rank 0's success decides: it ends last and has everything. Otherwise report the root failure, not those that it
    caused in peers; an INTERNAL error beside a dead worker counts as caused by the death.

    Args:
        results: by rank, in the order of arrival.

    """
    all_results = results.values()
    if results[0].outcome == "succeeded" and not results[0].needs_all:
        return results[0]
    failed = sorted(
        (result for result in all_results if result.outcome == "failed"),
        key=lambda result: (result.lost_peers, result.cause == Cause.INTERNAL),
    )
    return replace(
        failed[0] if failed else results[0],
        step=max(result.step for result in all_results),
        began=any(result.began for result in all_results),
        checkpoint=max((result.checkpoint for result in all_results), key=lambda place: place[1]),
    )
