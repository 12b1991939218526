"""What makes the attempts of a run, as the driver sees it; and the attempts of a group of workers."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from stoker.errors import Cause, StokerError
from stoker.execution.bad_nodes import BadNodes
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


@dataclass(frozen=True)
class Watch:
    """What the driver wants to know, and to say, during an attempt."""

    stop: Callable[[], StopReason | None]
    """Returns the current stop request."""
    started: Callable[[str], None]
    """To be called once the workers have been started, with their number if there are several."""
    checkpoint: Callable[[tuple[int, int]], None]
    """To be called with epoch and step of the newest checkpoint."""
    system: Callable[[str, SystemSample], None]
    """To be called with system metrics and the name of their worker, which is empty for a single one."""
    slow: Callable[[list[str]], None] = lambda _: None
    """To be called with descriptions of the workers that the others wait for, when they change."""
    left_out: Callable[[list[str]], None] = lambda _: None
    """To be called with the machines that are not used again, each with the reason."""


class Attempts(Protocol):
    """Makes the attempts of a run, one after another."""

    wanted: str
    """The number of workers in words."""
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

    def renew(self, stopped: Callable[[], bool]) -> None:
        """Prepare for another attempt; return early if stopped."""


class GroupAttempts:
    """Attempts of a group of workers that stays from one to the next; `Attempts`.

    Args:
        group: the workers.
        store: has the results of a first worker that shares no disk with the driver.
        replace_pods: has Kubernetes replace pods, given the names of nodes to leave out and of the pods there; returns
            whether it does. None: the workers run in no pods of their own, and are placed elsewhere.

    """

    def __init__(
        self,
        group: "WorkerGroup",
        store: "RunStore | None" = None,
        replace_pods: Callable[[Collection[str], Collection[str]], bool] | None = None,
    ) -> None:
        self._group = group
        self._store = store
        self._replace_pods = replace_pods
        self._bad = BadNodes()
        self._known: frozenset[str] = frozenset()
        """Bad machines that Kubernetes has been told of."""
        self._watch: Watch | None = None
        self.wanted, self.waits = group.wanted, not group.shared_disk
        self._leaving: dict[int, str] = {}
        """Nodes that were about to be taken away in the last attempt, by rank of a worker on them."""

    def wait_for_resources(self, stopped: Callable[[], bool]) -> bool:
        """Wait until Ray has placed all workers; return False if stopped before."""
        return self._group.wait_for_resources(stopped)

    def run(self, folder: RunFolder, number: int, watch: Watch) -> WorkerResult:
        """Start the attempt, supervise it, and collect what its first worker has written."""
        group = self._group
        group.start_attempt(folder, number)
        watch.started(group.shown_count)
        on_system = partial(self._on_system, watch)
        supervisor = Supervisor(group, watch.stop, partial(_on_beat, watch), on_system, Timeouts(), watch.slow)
        result = supervisor.run()
        self._leaving, self._watch = supervisor.leaving, watch
        if not group.shared_disk:
            self._bad.note(result, group.machines().values(), group.alive_nodes())
        collected = group.collect_journal()
        return self._with_results(result, collected) if result.outcome == "succeeded" else result

    def renew(self, stopped: Callable[[], bool]) -> None:
        """Replace dead workers, after those of nodes that are taken away, or left out from now on, have gone."""
        self._group.replace_dead(self._leaving | self._newly_left_out(), stopped)

    def _newly_left_out(self) -> dict[int, str]:
        """Leave out the machines that have turned out to be bad; return those nodes of Ray that will go, by rank."""
        bad = frozenset(self._bad.reasons)
        there = {rank: machine for rank, machine in self._group.machines().items() if machine.name in bad}
        if not there and bad == self._known:
            return {}
        if self._replace_pods is None:
            self._group.move_from(there)
            gone = {}
        elif self._replace_pods(bad, {machine.pod for machine in there.values()}):
            gone = {rank: machine.ray_node for rank, machine in there.items()}
        else:
            return {}  # after the next failure it is asked again
        self._known = bad
        if self._watch:
            self._watch.left_out([f"{name}: {reason}" for name, reason in sorted(self._bad.reasons.items())])
        return gone

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
        watch.system(worker_node(rank, self._group.most), sample)


def worker_node(rank: int, count: int) -> str:
    """Return the name of a worker among the system metrics: empty for a single one."""
    return f"worker-{rank}" if count > 1 else ""


def _on_beat(watch: Watch, beat: Beat) -> None:
    if beat.stage is not Stage.LOADING:
        watch.checkpoint(beat.checkpoint)
