"""Machines that later attempts of a run leave out, because its workers fail there through no fault of its own."""

import time
from collections import defaultdict
from collections.abc import Collection

from stoker.errors import Cause
from stoker.execution.device_faults import BROKEN, MISSING
from stoker.execution.machine import Machine
from stoker.execution.worker_result import WorkerResult

FAILURES = 2
"""So many failures on one machine within a day, while it stays part of the cluster, make it a bad one."""
DAY_S = 86_400.0


class BadNodes:
    """Counts what speaks against each machine."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        """Why a machine is left out, by its name."""
        self._failures: defaultdict[str, list[float]] = defaultdict(list)
        """Times of failures by machine."""

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
        if result.device == BROKEN:
            self.reasons.setdefault(machine.name, reason)
        elif _speaks_against_its_machine(result) and machine.ray_node in alive:
            now = time.monotonic()
            times = self._failures[machine.name] = [t for t in self._failures[machine.name] if now - t < DAY_S] + [now]
            good = {each.name for each in machines} - {machine.name} - self.reasons.keys()
            if len(times) >= FAILURES and good:  # with all workers on one machine it may be the code
                again = f"{len(times)} workers have failed there, the last one: {reason}"
                self.reasons.setdefault(machine.name, again)


def _speaks_against_its_machine(result: WorkerResult) -> bool:
    """Return whether a process has died or hung without a known cause, or has lost its device."""
    died = result.died and result.cause == Cause.INFRASTRUCTURE and not result.lost_peers
    return died or result.cause == Cause.HANG or result.device == MISSING
