"""What makes the attempts of a run, as the driver sees it; and the attempts of a group of workers."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from stoker.errors import Cause, StokerError
from stoker.execution.heartbeat import Beat, Stage
from stoker.execution.run_store import storage_cause
from stoker.execution.stop_requests import StopReason
from stoker.execution.supervisor import Supervisor, Timeouts
from stoker.execution.worker_result import RESULTS_LOST, WorkerResult
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.system_metrics import SystemSample

if TYPE_CHECKING:
    from stoker.execution.run_store import RunStore
    from stoker.execution.worker_group import WorkerGroup

GONE_S, GONE_POLL_S = 120.0, 0.5
"""How long to wait for the end of a node that is taken away; longer than the grace period of its pods."""


@dataclass(frozen=True)
class Watch:
    """What the driver wants to know, and to say, during an attempt."""

    stop: Callable[[], StopReason | None]
    """Returns the current stop request."""
    started: Callable[[], None]
    """To be called once the workers have been started."""
    checkpoint: Callable[[tuple[int, int]], None]
    """To be called with epoch and step of the newest checkpoint."""
    system: Callable[[str, SystemSample], None]
    """To be called with system metrics and the name of their worker, which is empty for a single one."""


class Attempts(Protocol):
    """Makes the attempts of a run, one after another."""

    count: int
    """Number of workers."""
    waits: bool
    """Whether there may be no room for them yet."""

    def wait_for_resources(self, stopped: Callable[[], bool]) -> bool:
        """Wait until all workers can start; return False if stopped before."""

    def run(self, folder: RunFolder, number: int, watch: Watch) -> WorkerResult:
        """Make an attempt, from the newest checkpoint on; failures are returned, not raised.

        Args:
            folder: of the run.
            number: of the attempt, counted from 1.
            watch: the driver's view.

        """

    def renew(self) -> None:
        """Prepare for another attempt."""


class GroupAttempts:
    """Attempts of a group of workers that stays from one to the next; `Attempts`.

    Args:
        group: the workers.
        store: has the results of a first worker that shares no disk with the driver.

    """

    def __init__(self, group: "WorkerGroup", store: "RunStore | None" = None) -> None:
        self._group = group
        self._store = store
        self.count, self.waits = group.count, not group.shared_disk
        self._leaving: frozenset[str] = frozenset()
        """Nodes that were about to be taken away in the last attempt."""

    def wait_for_resources(self, stopped: Callable[[], bool]) -> bool:
        """Wait until Ray has placed all workers; return False if stopped before."""
        return self._group.wait_for_resources(stopped)

    def run(self, folder: RunFolder, number: int, watch: Watch) -> WorkerResult:
        """Start the attempt, supervise it, and collect what its first worker has written."""
        group = self._group
        group.start_attempt(folder, number)
        watch.started()
        on_system = partial(self._on_system, watch)
        supervisor = Supervisor(group, watch.stop, partial(_on_beat, watch), on_system, Timeouts())
        result = supervisor.run()
        self._leaving = frozenset(supervisor.leaving.values())
        collected = group.collect_journal()
        return self._with_results(result, collected) if result.outcome == "succeeded" else result

    def renew(self) -> None:
        """Replace dead workers, after those of nodes that are taken away have gone."""
        wait_until_gone(self._leaving)
        self._group.replace_dead()

    def _with_results(self, result: WorkerResult, collected: bool) -> WorkerResult:
        """Fetch the stored results of a first worker that shares no disk with the driver."""
        if not collected:
            return result.failed(Cause.INFRASTRUCTURE, RESULTS_LOST)
        if self._store is None:
            return result
        try:
            self._store.fetch_results()
            self._store.delete_results()
        except StokerError as error:
            return result.failed(storage_cause(error), str(error))
        return result

    def _on_system(self, watch: Watch, rank: int, sample: SystemSample) -> None:
        watch.system(worker_node(rank, self.count), sample)


def wait_until_gone(nodes: frozenset[str]) -> None:
    """Wait until Ray has lost nodes that are taken away: a worker placed there now would die with them."""
    if not nodes:
        return
    import ray  # which the driver has loaded by then

    deadline = time.monotonic() + GONE_S
    while time.monotonic() < deadline and any(each["NodeID"] in nodes and each["Alive"] for each in ray.nodes()):
        time.sleep(GONE_POLL_S)


def worker_node(rank: int, count: int) -> str:
    """Return the name of a worker among the system metrics: empty for a single one."""
    return f"worker-{rank}" if count > 1 else ""


def _on_beat(watch: Watch, beat: Beat) -> None:
    if beat.stage is not Stage.LOADING:
        watch.checkpoint(beat.checkpoint)
