"""The cgroups of this process, v2 or v1: their files and their limits."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import psutil


@dataclass(frozen=True)
class Cgroups:
    """The cgroups of this process, from its own up to the root.

    A container sees its own cgroup at the root, whatever its path on the host.
    """

    root: Path = Path("/sys/fs/cgroup")
    membership: Path = Path("/proc/self/cgroup")

    def files(self, v2: str, v1: str) -> Iterator[Path]:
        """Yield the existing files of a name, the process's own first.

        Args:
            v2: the file's name in cgroup v2, such as `memory.max`.
            v1: controller and name in v1, such as `memory/memory.limit_in_bytes`.

        """
        controller, name = v1.split("/")
        try:
            lines = self.membership.read_text(encoding="ascii").splitlines()
        except OSError:  # not Linux
            return
        for line in lines:
            _, controllers, path = line.split(":", 2)
            own = PurePosixPath(path.lstrip("/"))
            for place in dict.fromkeys((own, *own.parents)):
                if controllers == "":
                    file = self.root / place / v2
                elif controller in controllers.split(","):
                    file = self.root / controller / place / name
                else:
                    continue
                if file.is_file():
                    yield file

    def memory_limit(self) -> int | None:
        """Return the nearest limit of memory in bytes, as far as the machine has so much."""
        for file in self.files("memory.max", "memory/memory.limit_in_bytes"):
            with suppress(OSError, ValueError):  # `max`
                if (limit := int(file.read_text())) < psutil.virtual_memory().total:  # v1 has a number for no limit
                    return limit
        return None

    def cpu_limit(self) -> float | None:
        """Return the nearest limit of CPU time, in cores."""
        for file in self.files("cpu.max", "cpu/cpu.cfs_quota_us"):
            period = file.with_name("cpu.cfs_period_us")
            with suppress(OSError, ValueError):  # `max`
                words = file.read_text() if file.name == "cpu.max" else f"{file.read_text()} {period.read_text()}"
                quota, period_us = map(int, words.split())
                if quota > 0:  # -1 means no limit
                    return quota / period_us
        return None
