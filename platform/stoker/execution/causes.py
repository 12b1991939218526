"""From an exception to the cause of a failed run."""

import errno

import torch

from stoker.errors import Cause


def cause_of(error: BaseException) -> Cause:
    """Name the cause behind an exception of a worker or of Ray."""
    if isinstance(error, torch.OutOfMemoryError):
        return Cause.OOM_DEVICE
    if isinstance(error, MemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error):
        return Cause.OOM_HOST
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Cause.DISK_FULL
    if type(error).__module__.startswith("ray.exceptions"):
        return Cause.OOM_HOST if type(error).__name__ == "OutOfMemoryError" else Cause.INFRASTRUCTURE
    return Cause.INTERNAL
