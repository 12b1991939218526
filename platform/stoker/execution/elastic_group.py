"""Workers whose number follows what Ray has room for, between two bounds."""

import math
import time
from collections.abc import Callable, Mapping, Sequence

import ray
from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table, remove_placement_group

from stoker.execution.worker_group import Member, WorkerGroup, alive, alive_nodes, call_concurrently, wait_until_placed
from stoker.job.resources import Elastic

POLL_S = 0.2
SETTLE_S = 3.0
"""The first attempt starts once no further worker has come for so long: they are not ready at the same time."""
REVIVE_EVERY_S = 5.0
"""At most so often a worker is started again in the same place."""


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
        self._slots: list[Member | None] = list(self._members)
        """The newest worker of each place, of which some are members of the attempt; None before its first one."""
        self._started = [time.monotonic()] * len(self._slots)
        self._blocked: dict[int, str] = {}
        """Nodes that are taken away, by number of a place that was on them."""

    @property
    def most(self) -> int:
        """Return the number of workers where there is room for all."""
        return self._bounds.max

    @property
    def wanted(self) -> str:
        """Return the number of workers that an attempt needs, in words."""
        return f"at least {super().wanted}" if self._extra else f"{self._bounds.min} to {self._bounds.max} workers"

    @property
    def shown_count(self) -> str:
        """Return the number of workers of the attempt."""
        return f"{self.count} of {self._bounds.min} to {self._bounds.max}"

    def wait_for_resources(self, stopped: Callable[[], bool]) -> bool:
        """Wait until the least number stands ready, and at the first time for more; return False if stopped before."""
        if not self._extra:
            assert self._place is not None
            if not wait_until_placed(self._place, stopped):
                return False
            further = self._bounds.max - self._bounds.min
            self._extra = [placement_group([self._bundle]) for _ in range(further)]
            self._slots += [None] * further
            self._started += [-math.inf] * further
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
            if stopped():
                return False
            time.sleep(POLL_S)

    def joining(self) -> int:
        """Return how many more workers stand ready for the next attempt."""
        self._revive()
        members = {id(member) for member in self._members}
        return sum(id(member) not in members for member in self._ready())

    def replace_dead(self, leaving: Mapping[int, str], stopped: Callable[[], bool]) -> None:
        """Let dead workers go, and those of nodes that are taken away; the next attempt takes those that are left."""
        for rank, node in leaving.items():
            self._blocked[self._slots.index(self._members[rank])] = node
        self.kill(leaving)
        self._drop_dead()

    def close(self) -> None:
        """Kill all workers and remove their placement groups."""
        self._members = [member for member in self._slots if member is not None]
        self.count = len(self._members)
        super().close()
        for place in self._extra:
            remove_placement_group(place)

    def _ready(self) -> list[Member]:
        """Return the workers that live and have their libraries, and note those of no attempt that have died."""
        there = [member for member in self._slots if member is not None and not member.dead]
        asked = {member.warm: member for member in there if member.result is None}
        if asked:
            done, _ = ray.wait(list(asked), num_returns=len(asked), timeout=0)
            for reference in done:
                member = asked[reference]
                if alive(reference):
                    member.ready, member.warm = (
                        True,
                        call_concurrently(member.actor.stop_waiting),
                    )  # does nothing: a ping
                else:
                    member.dead = True
        return [member for member in there if not member.dead and member.ready]

    def _revive(self) -> None:
        """Start a worker in each place that has none but a node, unless that is about to be taken away."""
        now = time.monotonic()
        empty = [
            number
            for number, member in enumerate(self._slots)
            if (member is None or member.dead) and now >= self._started[number] + REVIVE_EVERY_S
        ]
        if not empty:
            return
        here = alive_nodes()
        self._blocked = {number: node for number, node in self._blocked.items() if node in here}
        for number in empty:
            place, bundle = self._place_of(number)
            node = placement_group_table(place)["bundles_to_node_id"].get(bundle, "")
            if node in here and number not in self._blocked:
                self._started[number] = now
                self._slots[number] = self._start_in(place, bundle)

    def _place_of(self, number: int) -> tuple[PlacementGroup, int]:
        """Return the placement group of a place, and the number of its bundle there."""
        assert self._place is not None
        least = self._bounds.min
        return (self._place, number) if number < least else (self._extra[number - least], 0)
