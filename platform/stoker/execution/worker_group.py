"""The workers of a run, as Ray actors: started together, supervised, and replaced one by one."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.actor import ActorHandle
from ray.exceptions import RayActorError, RayError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from stoker.errors import Cause
from stoker.execution.engines.table import LIBRARIES
from stoker.execution.heartbeat import STEP_FILE, Beat, Stage, read_last_step
from stoker.execution.machine import Machine
from stoker.execution.oom_detection import cause_of_death, death_message, oom_kill_count
from stoker.execution.worker import Worker
from stoker.execution.worker_folder import FolderReplica, pack
from stoker.execution.worker_result import WorkerResult
from stoker.tracking.run_folder import RunFolder

CONTROL_GROUP = "answers"
"""Ray's concurrency group of the methods that run while a worker trains."""
CONTROL_THREADS = 2
ANSWER_TIMEOUT_S = 5.0
"""A living worker answers within this time, unless it hangs while holding the GIL, or still imports libraries."""
FETCH_TIMEOUT_S = 60.0
"""For the last journal entries of a worker."""
RESOURCES_POLL_S = 1
GONE_S, GONE_POLL_S = 120.0, 0.5
"""How long to wait for the end of a node that is taken away; longer than the grace period of its pods."""
SPARE_BYTES = 2 << 30
"""A spare worker is started if this much memory is free."""


@dataclass(eq=False)
class Member:
    """One worker and its pending answers."""

    actor: ActorHandle
    number: int = 0
    """Of its place, which stays while ranks change."""
    warm: Any = None
    """Reference that is there once it has imported its libraries."""
    dead: bool = False
    result: Any = None
    """Reference to the result of `run`; None if it is not running."""
    beat: Any = None
    """Reference to the next heartbeat."""
    ready: bool = False
    """Whether it has ever answered; until then it imports libraries."""
    last: Beat | None = None
    """The last heartbeat of this attempt."""
    machine: Machine | None = None
    """Where it runs, once that is known."""


class WorkerGroup:
    """A fixed number of workers.

    Args:
        count: number of workers.
        gpus: GPUs of each worker; None: one each if there are enough.
        spare: whether to keep a spare process where no GPU is needed: Ray has none ready when a worker dies, and
            importing the libraries takes longer than the rest of a recovery.
        shared_disk: whether the workers see the driver's files; otherwise files are sent to them, and the first
            worker's folder is mirrored.
        place: an existing placement group whose last bundles are for these workers; None: create one, all or nothing.
        libraries: modules that the workers import while they wait.

    """

    def __init__(
        self,
        count: int,
        gpus: float | None,
        spare: bool,
        shared_disk: bool = True,
        place: PlacementGroup | None = None,
        libraries: Sequence[str] = LIBRARIES,
    ) -> None:
        if gpus is None:
            gpus = min(1, int(ray.cluster_resources().get("GPU", 0)) // count)
        self.count = count
        self._libraries = libraries
        self._gpus = gpus
        self._spare_wanted = spare and not gpus
        self.shared_disk = shared_disk
        self._spare: ActorHandle | None = None
        self._folder = RunFolder(Path())
        self._replica: FolderReplica | None = None
        """Replica of the first worker's folder, if it shares no disk with the driver."""
        self._kills = 0
        self._bundle = {"CPU": 1, "GPU": gpus} if gpus else {"CPU": 1}
        self._place, self._given = place, place is not None
        self._before = place.bundle_count - count if place else 0
        """Number of leading bundles that belong to others."""
        self._avoided: frozenset[str] = frozenset()
        """Nodes of Ray that are left out."""
        if place is None and (count > 1 or not shared_disk):
            self._place = self._reserved(count)
        self._members = [self._start(rank) for rank in range(count)]

    @property
    def most(self) -> int:
        """Return the number of workers where there is room for all."""
        return self.count

    @property
    def wanted(self) -> str:
        """Return the number of workers that an attempt needs, in words."""
        return f"{self.count} worker{'s' if self.count > 1 else ''}"

    @property
    def shown_count(self) -> str:
        """Return the number of workers of the attempt; empty for a single one."""
        return str(self.count) if self.count > 1 else ""

    def wait_for_resources(self, stopped: Callable[[], bool]) -> bool:
        """Wait until Ray has placed all workers; return False if stopped before."""
        return self._place is None or wait_until_placed(self._place, stopped)

    def joining(self) -> int:
        """Return how many more workers wait for the next attempt: none, their number is fixed."""
        return 0

    def start_attempt(self, folder: RunFolder, attempt: int) -> None:
        """Start an attempt on all workers."""
        self._folder = folder
        self._close_replica()
        self._replica = None if self.shared_disk else FolderReplica(folder)
        files = None if self.shared_disk else ray.put(pack(folder))
        self._kills = oom_kill_count()
        address = call_concurrently(self._members[0].actor.address) if self.count > 1 else ""
        for rank, member in enumerate(self._members):
            member.beat = member.last = None
            member.result = member.actor.run.remote(
                str(folder.path), rank, self.count, address, attempt, files, member.number
            )

    def poll(self, timeout_s: float) -> dict[int, WorkerResult]:
        """Wait for results until the timeout; return the new ones by rank, including those of dead workers."""
        running = {member.result: rank for rank, member in enumerate(self._members) if member.result is not None}
        if ray.wait(list(running), timeout=timeout_s)[0]:
            done, _ = ray.wait(list(running), num_returns=len(running), timeout=0)
            return {running[reference]: self._result(running[reference]) for reference in done}
        return {}

    def beats(self) -> dict[int, Beat]:
        """Return the heartbeats that have arrived, by rank, and request the next ones."""
        received: dict[int, Beat] = {}
        for rank, member in enumerate(self._members):
            if member.result is None:
                continue
            if member.beat is not None and ray.wait([member.beat], timeout=0)[0]:
                with suppress(RayError):  # `poll` reports a dead worker
                    beat: Beat = ray.get(member.beat)
                    received[rank] = member.last = beat
                    member.machine = beat.machine
                    member.ready = True
                    if rank == 0 and beat.update is not None and self._replica is not None:
                        self._replica.apply(beat.update)
                member.beat = None
            if member.beat is None:
                member.beat = call_concurrently(member.actor.beat, self._journal_bytes())
        return received

    def request(self, request: str) -> None:
        """Send a request to all running workers."""
        for member in self._members:
            if member.result is not None:
                call_concurrently(member.actor.request, request)

    def stack_traces(self) -> str:
        """Return the stack traces of all running workers."""
        references = {
            rank: call_concurrently(m.actor.stack_traces)
            for rank, m in enumerate(self._members)
            if m.result is not None
        }
        answered, _ = ray.wait(list(references.values()), num_returns=len(references), timeout=ANSWER_TIMEOUT_S)
        traces = []
        for rank, reference in references.items():
            text = "it does not answer"
            if reference in answered:
                with suppress(RayError):
                    text = ray.get(reference)
            traces.append(f"worker {rank}:\n{text}")
        return "\n".join(traces)

    def kill(self, ranks: Iterable[int]) -> None:
        """Kill workers; they return no results."""
        for rank in ranks:
            member = self._members[rank]
            ray.kill(member.actor)
            member.dead, member.result = True, None

    def collect_journal(self) -> bool:
        """Fetch the rest of the first worker's journal after an attempt; return False if it is lost."""
        first = self._members[0]
        if self._replica is None:
            return True
        if first.dead:
            return False
        try:
            update = ray.get(
                call_concurrently(first.actor.update, self._replica.journal_bytes), timeout=FETCH_TIMEOUT_S
            )
        except RayError:  # the worker has died
            return False
        self._replica.apply(update)
        return True

    def replace_dead(self, leaving: Mapping[int, str], stopped: Callable[[], bool]) -> None:
        """Replace dead workers before the next attempt; the others keep their data and libraries.

        Args:
            leaving: Ray nodes that are taken away, by rank of a worker on them; they are waited for.
            stopped: returns whether to wait no longer.

        """
        wait_until_gone(frozenset(leaving.values()), stopped)
        self._drop_dead()
        for rank, member in enumerate(self._members):
            if member.dead:
                spare = self._take_spare()
                self._members[rank] = Member(spare, rank) if spare else self._start(rank)

    def alive_nodes(self) -> frozenset[str]:
        """Return the ids of the nodes that Ray has."""
        return alive_nodes()

    def machines(self) -> dict[int, Machine]:
        """Return where the workers run, by rank, as far as it is known."""
        return {rank: member.machine for rank, member in enumerate(self._members) if member.machine is not None}

    def move_from(self, machines: Mapping[int, Machine]) -> None:
        """Place the workers elsewhere than on these machines, before the next attempt.

        Args:
            machines: to leave out, by rank of a worker there.

        """
        if self._place is None or self._given:
            return
        self.kill(range(self.count))
        remove_placement_group(self._place)
        self._avoided |= {machine.ray_node for machine in machines.values()}
        self._place = self._reserved(self.count)

    def _reserved(self, count: int) -> PlacementGroup:
        """Reserve places for workers, all or none, on the nodes of Ray that are not left out."""
        elsewhere = {"ray.io/node-id": f"!in({','.join(sorted(self._avoided))})"}
        selector = [elsewhere] * count if self._avoided else None
        return placement_group([self._bundle] * count, strategy="PACK", bundle_label_selector=selector)

    def _drop_dead(self) -> None:
        """Find out which workers are dead, and kill those that do not answer."""
        if self._gpus:  # a device is not trusted after a failure
            self.kill(range(self.count))
        references = {call_concurrently(m.actor.beat): rank for rank, m in enumerate(self._members) if not m.dead}
        if references:
            answers, none = ray.wait(list(references), num_returns=len(references), timeout=ANSWER_TIMEOUT_S)
            self.kill(references[answer] for answer in answers if not alive(answer))
            self.kill(references[answer] for answer in none if self._members[references[answer]].ready)

    def start_spare(self) -> None:
        """Start a spare worker, if one is wanted and memory allows."""
        if self._spare_wanted and self._spare is None and psutil.virtual_memory().available > SPARE_BYTES:
            self._spare = _actor(self._libraries, cpus=0, gpus=0)
            self._spare.stand_by.options(name="Spare").remote()  # `ps` shows this name while it waits

    def close(self) -> None:
        """Kill all workers and remove their placement group."""
        self._close_replica()
        if not self.shared_disk:
            ray.wait(
                [call_concurrently(m.actor.delete_folder) for m in self._members],
                num_returns=self.count,
                timeout=ANSWER_TIMEOUT_S,
            )
        for member in self._members:
            ray.kill(member.actor)
        if self._spare is not None:
            ray.kill(self._spare)
        if self._place is not None and not self._given:
            remove_placement_group(self._place)

    def _journal_bytes(self) -> int:
        return 0 if self._replica is None else self._replica.journal_bytes

    def _close_replica(self) -> None:
        if self._replica is not None:
            self._replica.close()
            self._replica = None

    def _start(self, rank: int) -> Member:
        return self._start_in(rank, self._place, rank + self._before)

    def _start_in(self, number: int, place: PlacementGroup | None, bundle: int) -> Member:
        """Start a worker in a bundle of a placement group, or anywhere."""
        if place is None:
            actor = _actor(self._libraries, cpus=0, gpus=self._gpus)
        else:
            strategy = PlacementGroupSchedulingStrategy(place, bundle)
            actor = _actor(self._libraries, cpus=1, gpus=self._gpus, scheduling_strategy=strategy)
        return Member(actor, number, actor.warm_up.remote())

    def _take_spare(self) -> ActorHandle | None:
        spare, self._spare = self._spare, None
        if spare is not None:
            call_concurrently(spare.stop_waiting)
            answer = call_concurrently(spare.beat)
            if ray.wait([answer], timeout=0.5)[0] and not alive(answer):
                return None
        return spare

    def _result(self, rank: int) -> WorkerResult:
        member = self._members[rank]
        reference, member.result = member.result, None
        try:
            ended: WorkerResult = ray.get(reference)
        except RayActorError as error:
            if error.actor_id not in (
                None,
                member.actor._actor_id.hex(),
            ):  # the worker that provides the address died
                return WorkerResult("failed", Cause.INFRASTRUCTURE, "it lost its peers", lost_peers=True)
            return self._death(rank, error)
        except RayError as error:
            if type(error).__name__ == "OutOfMemoryError":
                return self._death(rank, error)
            return WorkerResult("failed", Cause.INTERNAL, f"{type(error).__name__} in worker {rank}", str(error))
        member.machine = ended.machine or member.machine
        return ended

    def _death(self, rank: int, error: RayError) -> WorkerResult:
        """Return the result of a worker that has died."""
        self.kill([rank])
        step, last = read_last_step(self._folder.path / STEP_FILE), self._members[rank].last
        if not self.shared_disk and last is not None and last.stage is not Stage.LOADING:
            step = last.step
        cause = cause_of_death(error, self._kills)
        message = death_message(f"worker {rank}", cause)
        details = str(error).splitlines()[-1].strip()
        details = "" if details.startswith("actor_id:") else details
        machine, began = self._members[rank].machine, step >= 0
        return WorkerResult(
            "failed", cause, message, details, died=True, step=max(step, 0), began=began, machine=machine
        )


def wait_until_placed(place: PlacementGroup, stopped: Callable[[], bool]) -> bool:
    """Wait until Ray has reserved all of a placement group; return False if stopped before."""
    while not place.wait(RESOURCES_POLL_S):
        if stopped():
            return False
    return True


def wait_until_gone(nodes: frozenset[str], stopped: Callable[[], bool]) -> None:
    """Wait until Ray has lost nodes that are taken away: a worker placed there now would die with them.

    Args:
        nodes: their ids in Ray.
        stopped: returns whether to wait no longer.

    """
    deadline = time.monotonic() + GONE_S
    while nodes and nodes & alive_nodes() and not stopped() and time.monotonic() < deadline:
        time.sleep(GONE_POLL_S)


def alive_nodes() -> frozenset[str]:
    """Return the ids of the nodes that Ray has."""
    return frozenset(node["NodeID"] for node in ray.nodes() if node["Alive"])


def _actor(libraries: Sequence[str], cpus: int, gpus: float, **options: Any) -> ActorHandle:
    remote = ray.remote(num_cpus=cpus, num_gpus=gpus, concurrency_groups={CONTROL_GROUP: CONTROL_THREADS})
    return remote(Worker).options(**options).remote(libraries)


def call_concurrently(method: Any, *arguments: object) -> Any:
    """Call a worker's method while another one trains; return a reference to the answer."""
    return method.options(concurrency_group=CONTROL_GROUP).remote(*arguments)


def alive(answer: Any) -> bool:
    """Return whether a reference holds an answer and not an error."""
    try:
        ray.get(answer)
    except RayError:
        return False
    return True
