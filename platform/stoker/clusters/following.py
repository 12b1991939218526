"""Staying with a run on a cluster, which may not answer for a while."""

import time
from collections.abc import Iterator

from stoker.clusters.cluster import Cluster
from stoker.errors import Unreachable
from stoker.tracking.record import RunFolder
from stoker.tracking.run import RunRecord

GONE_S = 60.0
"""A cluster may be silent for so long."""


def follow(cluster: Cluster, folder: RunFolder, every_s: float) -> Iterator[RunRecord]:
    """Yield a run's record again and again, the last time when nobody works on it any more, with its log.

    Raises:
        Unreachable: the cluster has not answered for too long.

    """
    silent = 0
    while True:
        try:
            record = cluster.refresh(folder)
            silent = 0
        except Unreachable:
            silent += 1
            if silent * every_s > GONE_S:
                raise
            record = folder.record()
        yield record
        if record.state.ended:
            cluster.fetch_log(folder)
            return
        time.sleep(every_s)
