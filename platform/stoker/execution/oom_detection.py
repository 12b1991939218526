"""Detection of processes that died because memory ran out."""

from pathlib import Path

from stoker.errors import Cause

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
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
    for file in (*_cgroup_files(), MACHINE):
        try:
            lines = file.read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, number = line.partition(" ")
            if name == "oom_kill":
                return int(number)
    return 0


def _cgroup_files() -> list[Path]:
    """List the files that may have the counter, for cgroups v1 and v2.

    A container sees its own cgroup at the root, whatever its path on the host.
    """
    files: list[Path] = []
    try:
        lines = MEMBERSHIP.read_text(encoding="ascii").splitlines()
    except OSError:
        return files
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            files += [CGROUPS / place / "memory.events" for place in (path.lstrip("/"), "")]
        elif "memory" in controllers.split(","):
            files += [CGROUPS / "memory" / place / "memory.oom_control" for place in (path.lstrip("/"), "")]
    return files
