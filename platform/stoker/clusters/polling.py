"""Staying with a run, wherever it is; a cluster may not answer for a while."""

import time
from collections.abc import Iterator
from contextlib import suppress

from stoker.clusters.cluster import Cluster
from stoker.errors import StokerError, Unreachable
from stoker.tracking.record import RunFolder
from stoker.tracking.run import RunRecord

PATIENCE_S = 300.0
"""A cluster may be silent for so long."""


def follow(cluster: Cluster, folder: RunFolder) -> Iterator[RunRecord]:
    """Yield a run's record again and again, the last time when nobody works on it any more, with its log.

    Raises:
        Unreachable: the cluster has not answered for too long.

    """
    heard = time.monotonic()
    while True:
        try:
            record = cluster.refresh(folder)
            heard = time.monotonic()
        except Unreachable:
            if time.monotonic() - heard > PATIENCE_S:
                raise
            record = folder.record()
        if record.state.ended:
            with suppress(StokerError):  # how the run ended is known, with its log or without
                cluster.fetch_log(folder)
            yield record
            return
        yield record
        time.sleep(cluster.poll_s)
