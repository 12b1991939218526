"""Machines that later attempts of a run leave out, because its workers fail there through no fault of its own."""

from collections import Counter
from collections.abc import Collection

from stoker.errors import Cause
from stoker.execution.causes import DEVICE_FAULT
from stoker.execution.machine import Machine
from stoker.execution.worker_result import WorkerResult

DEATHS = 2
"""So many deaths of workers of a run on one machine, while it stays part of the cluster, make it a bad one."""


class BadNodes:
    """Counts what speaks against each machine."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        """Why a machine is left out, by its name."""
        self._deaths: Counter[str] = Counter()

    def note(self, result: WorkerResult, machines: Collection[Machine], alive: Collection[str]) -> None:
        """Take the result of an attempt.

        Args:
            result: of the attempt.
            machines: of all its workers.
            alive: nodes that Ray still has: Kubernetes itself knows what has become of the others.

        """
        machine = result.machine
        if result.outcome != "failed" or machine is None:
            return
        reason = result.message.partition("\n")[0]
        if DEVICE_FAULT.search(result.message):
            self.reasons.setdefault(machine.name, reason)
        elif result.cause in (Cause.INFRASTRUCTURE, Cause.HANG) and not result.lost_peers and machine.ray_node in alive:
            self._deaths[machine.name] += 1
            elsewhere = {each.name for each in machines} - {machine.name}
            if self._deaths[machine.name] >= DEATHS and elsewhere:  # with all workers on one machine it may be the code
                again = f"{self._deaths[machine.name]} workers have failed there, the last one: {reason}"
                self.reasons.setdefault(machine.name, again)
