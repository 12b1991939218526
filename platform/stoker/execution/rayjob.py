"""The RayJob that a driver belongs to, where it has one: requests come as its annotations, and the state goes there."""

from contextlib import AbstractContextManager

from stoker.tracking.record import RunFolder


def own_rayjob(folder: RunFolder) -> AbstractContextManager[None] | None:
    """Follow the RayJob of this driver for the length of a block; None where there is none."""
    return None
