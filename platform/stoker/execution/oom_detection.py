"""Detection of processes that died because memory ran out."""

from pathlib import Path

from stoker.errors import Cause
from stoker.execution.system_metrics.cgroups import Cgroups

MACHINE = Path("/proc/vmstat")


def cause_of_death(error: Exception, kills_before: int) -> Cause:
    """Return OOM_HOST for a worker killed by the kernel's or Ray's memory monitor; INFRASTRUCTURE otherwise.

    Args:
        error: Ray's exception.
        kills_before: `oom_kill_count` at the start of the attempt.

    """
    if type(error).__name__ == "OutOfMemoryError" or oom_kill_count() > kills_before:
        return Cause.OOM_HOST
    return Cause.INFRASTRUCTURE


def death_message(process: str, cause: Cause) -> str:
    """Return the failure message of a dead process, such as `worker 1`."""
    return f"the process of {process} died{' for lack of memory' if cause is Cause.OOM_HOST else ''}"


def oom_kill_count() -> int:
    """Return how many processes the kernel has killed for lack of memory, in our cgroup or else on the machine."""
    for file in (*Cgroups().files("memory.events", "memory/memory.oom_control"), MACHINE):
        try:
            lines = file.read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, number = line.partition(" ")
            if name == "oom_kill":
                return int(number)
    return 0
