"""Workers whose number follows what Ray has room for, between two bounds."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import ray
from ray.exceptions import RayError
from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group

from stoker.errors import ClusterError
from stoker.execution.machine import Machine
from stoker.execution.worker_folder import pack
from stoker.execution.worker_group import Member, WorkerGroup, alive_nodes, call_concurrently, wait_until_placed
from stoker.job.resources import Elastic
from stoker.tracking.run_folder import RunFolder

POLL_S = 0.2
SETTLE_S = 3.0
"""The first attempt starts once no further worker has come for so long: they are not ready at the same time."""
REVIVE_EVERY_S, MAX_REVIVE_S = 5.0, 300.0
"""At most so often a worker is started again in the same place; twice as long after each that could not start."""
MAX_FAILURES = 3
"""So many workers in a row could not start in their place: the run fails, if the others are too few."""


class ElasticGroup(WorkerGroup):
    """Between `workers.min` and `workers.max` workers, on a cluster.

    Each of the most workers has a place of its own. The places of the least number are one placement group, so that no
    two runs wait for each other, each with a part of what both need; each further place is its own. Ray finds another
    node for a place whose node is lost, at once or as soon as there is room; a process starts there as soon as Ray has
    found it. An attempt takes all processes that stand ready; the others are ready for the next attempt.

    Args:
        workers: the bounds.
        gpus: GPUs of each worker; None: one each if there are enough for the least number.
        libraries: modules that the workers import while they wait.

    """

    def __init__(self, workers: Elastic, gpus: float | None, libraries: Sequence[str]) -> None:
        self._bounds = workers
        self._extra: list[PlacementGroup] = []
        """Places beyond the least number; none before that has been placed."""
        super().__init__(workers.min, gpus, spare=False, shared_disk=False, libraries=libraries)
        self._places = [_Place(member) for member in self._members]
        """Of all workers that there can be; some of them are members of the attempt."""
        self._began = False
        """Whether an attempt has begun, whose data further workers have to load."""

    @property
    def most(self) -> int:
        """Return the number of workers where there is room for all."""
        return self._bounds.max

    @property
    def wanted(self) -> str:
        """Return the number of workers that an attempt needs, in words."""
        return f"{self._bounds.min} to {self._bounds.max} workers"

    @property
    def shown_count(self) -> str:
        """Return the number of workers of the attempt."""
        return f"{self.count} of {self._bounds.min} to {self._bounds.max}"

    def wait_for_resources(self, stopped: Callable[[], bool]) -> bool:
        """Wait until the least number stands ready, and at the first time for more; return False if stopped before.

        Raises:
            ClusterError: workers have their place and cannot start.

        """
        if not self._extra:
            assert self._place is not None
            if not wait_until_placed(self._place, stopped):
                return False
            further = self._bounds.max - self._bounds.min
            self._extra = [self._reserved(1) for _ in range(further)]
            self._places += [_Place() for _ in range(further)]
        settled = bool(self._ready())
        since, seen = time.monotonic(), 0
        while True:
            self._revive()
            ready = self._ready()
            if len(ready) > seen:
                since, seen = time.monotonic(), len(ready)
            if len(ready) >= self._bounds.min:
                settled = settled or len(ready) == self._bounds.max or time.monotonic() >= since + SETTLE_S
                if settled:
                    self._members = ready
                    self.count = len(ready)
                    return True
            elif failed := [place for place in self._places if place.failures >= MAX_FAILURES]:
                raise ClusterError(f"workers cannot start: {failed[0].error}")
            if stopped():
                return False
            time.sleep(POLL_S)

    def start_attempt(self, folder: RunFolder, attempt: int) -> None:
        """Start an attempt on the workers that stand ready; those that come later load its data."""
        super().start_attempt(folder, attempt)
        self._began = True
        for place in self._places:
            if place.waits and not place.loads and place.member is not None:
                place.member.ready = False

    def joining(self) -> int:
        """Return how many more workers stand ready for the next attempt."""
        self._revive()
        return sum(member not in self._members for member in self._ready())

    def replace_dead(self, leaving: Mapping[int, str], stopped: Callable[[], bool]) -> None:
        """Let dead workers go, and those of nodes that are taken away; the next attempt takes those that are left."""
        for rank, node in leaving.items():
            place = self._places[self._members[rank].number]
            if place.member is self._members[rank]:
                place.blocked = node
        self.kill(leaving)
        self._drop_dead()

    def move_from(self, machines: Mapping[int, Machine]) -> None:
        """Reserve other places for those on these machines; the least number of workers has one reservation."""
        self._avoided |= {machine.ray_node for machine in machines.values()}
        numbers = {self._members[rank].number for rank in machines}
        least = range(self._bounds.min)
        if numbers & set(least):
            assert self._place is not None
            remove_placement_group(self._place)
            self._place = self._reserved(len(least))
            numbers |= set(least)
        for number in numbers - set(least):
            remove_placement_group(self._extra[number - len(least)])
            self._extra[number - len(least)] = self._reserved(1)
        for number in numbers:
            place = self._places[number]
            if place.member is not None and not place.member.dead:
                ray.kill(place.member.actor)
                place.member.dead, place.member.result = True, None

    def close(self) -> None:
        """Kill all workers and remove their placement groups."""
        self._members = [place.member for place in self._places if place.member is not None]
        self.count = len(self._members)
        super().close()
        for group in self._extra:
            remove_placement_group(group)

    def _ready(self) -> list[Member]:
        """Return the workers that live, have libraries and data, and stay; note those of no attempt that have died."""
        waiting = [place for place in self._places if place.waits]
        asked = {place.member.warm: place for place in waiting if place.member is not None}
        if asked:
            done, _ = ray.wait(list(asked), num_returns=len(asked), timeout=0)
            for reference in done:
                self._take_answer(asked[reference], reference)
        members = [place.member for place in self._places if place.member is not None]
        return [member for member in members if not member.dead and member.ready]

    def _take_answer(self, place: "_Place", reference: ray.ObjectRef) -> None:
        """Take the next step with a worker of no attempt: it loads the data, or is asked again how it is."""
        member = place.member
        assert member is not None
        try:
            answer = ray.get(reference)
        except RayError as error:
            ray.kill(member.actor)
            member.dead = True
            if not member.ready:
                place.failures += 1
                place.error = str(error).strip().splitlines()[-1]
            return
        if self._began and not member.ready and not place.loads:
            place.loads = True
            files = ray.put(pack(self._folder))
            member.warm = member.actor.load.remote(str(self._folder.path), files, member.number)
            return
        if not member.ready:
            place.failures = 0
        member.ready = answer is not True  # `leaves`: its pod is about to end
        member.warm = call_concurrently(member.actor.leaves)

    def _revive(self) -> None:
        """Start a worker in each place that has none but a node, unless that is about to be taken away."""
        now = time.monotonic()
        empty = [number for number, place in enumerate(self._places) if place.empty and now >= place.not_before]
        if not empty:
            return
        here = alive_nodes()
        for number in empty:
            place, (group, bundle) = self._places[number], self._bundle_of(number)
            if place.blocked not in here:
                place.blocked = ""
            node = placement_group_table(group)["bundles_to_node_id"].get(bundle, "")
            if node in here and not place.blocked:
                place.not_before = now + min(REVIVE_EVERY_S * 2**place.failures, MAX_REVIVE_S)
                place.member, place.loads = self._start_in(number, group, bundle), False

    def _bundle_of(self, number: int) -> tuple[PlacementGroup, int]:
        """Return the placement group of a place, and the number of its bundle there."""
        assert self._place is not None
        least = self._bounds.min
        return (self._place, number) if number < least else (self._extra[number - least], 0)


@dataclass
class _Place:
    """Where a worker can be."""

    member: Member | None = None
    """The newest worker there; None before its first one."""
    loads: bool = False
    """Whether the worker has been asked to load the run's data before it joins."""
    not_before: float = -math.inf
    """When another worker may be started here."""
    blocked: str = ""
    """Its node, if that is about to be taken away."""
    failures: int = 0
    """Workers in a row that could not start here."""
    error: str = ""
    """Of the last one."""

    @property
    def empty(self) -> bool:
        """Return whether no worker lives here."""
        return self.member is None or self.member.dead

    @property
    def waits(self) -> bool:
        """Return whether a worker lives here that is in no attempt."""
        return self.member is not None and not self.member.dead and self.member.result is None
