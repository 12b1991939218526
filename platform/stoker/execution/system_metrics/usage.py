"""CPU time and memory of a worker: of its container, or of its processes where others share the container."""

from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from stoker.execution.system_metrics.cgroups import Cgroups
from stoker.job.concurrency import machine_cpus


@dataclass(frozen=True)
class Usage(ABC):
    """CPU time and memory in use, and their limits."""

    cpus: float
    """Number of cores that may be used."""
    memory_bytes: int
    """Memory that may be used."""

    @abstractmethod
    def cpu_s(self) -> float:
        """Return the CPU time so far, in seconds."""

    @abstractmethod
    def used_bytes(self) -> int:
        """Return the memory in use."""


@dataclass(frozen=True)
class ContainerUsage(Usage):
    """Usage of a cgroup."""

    cpu: Path
    """`cpu.stat` of cgroup v2, or `cpuacct.usage` of v1."""
    memory: Path
    """`memory.current` of cgroup v2, or `memory.usage_in_bytes` of v1."""

    def cpu_s(self) -> float:
        """Return the CPU time so far, in seconds."""
        if self.cpu.name == "cpuacct.usage":
            return int(self.cpu.read_text()) / 1e9
        return _counters(self.cpu)["usage_usec"] / 1e6

    def used_bytes(self) -> int:
        """Return the working set, as `kubectl top` does: without file pages that the kernel drops before it kills."""
        counters = _counters(self.memory.with_name("memory.stat"))
        inactive = counters.get("total_inactive_file", counters.get("inactive_file", 0))  # v1 has both, v2 the second
        return max(0, int(self.memory.read_text()) - inactive)


@dataclass(frozen=True)
class ProcessUsage(Usage):
    """Usage of this process and its descendants."""

    def cpu_s(self) -> float:
        """Return the CPU time so far, in seconds; that of ended descendants stays in their parents' `children_*`."""
        total = 0.0
        for process in _processes():
            with suppress(psutil.NoSuchProcess):  # it has just ended
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def used_bytes(self) -> int:
        """Return the resident memory; what processes share counts for each of them."""
        total = 0
        for process in _processes():
            with suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total


def worker_usage(own_container: bool, cgroups: Cgroups) -> Usage:
    """Return the usage of the container, if a cgroup limits it and it is the worker's own; else of its processes.

    Args:
        own_container: whether the container is the worker's own. On one machine, all workers of a run share it.
        cgroups: of this process.

    """
    cpus, memory_bytes = cgroups.cpu_limit(), cgroups.memory_limit()
    limits = cpus or machine_cpus(), memory_bytes or psutil.virtual_memory().total
    cpu = next(cgroups.files("cpu.stat", "cpuacct/cpuacct.usage"), None)
    memory = next(cgroups.files("memory.current", "memory/memory.usage_in_bytes"), None)
    if own_container and (cpus or memory_bytes) and cpu and memory:
        return ContainerUsage(*limits, cpu, memory)
    return ProcessUsage(*limits)


def _processes() -> list[psutil.Process]:
    this = psutil.Process()
    return [this, *this.children(recursive=True)]


def _counters(file: Path) -> dict[str, int]:
    """Read lines of a name and a number."""
    return {name: int(number) for name, number in map(str.split, file.read_text().splitlines())}
