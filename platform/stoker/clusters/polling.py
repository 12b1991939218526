"""Polling a run until it ends, across outages of its cluster."""

import time
from collections.abc import Iterator
from contextlib import suppress

from stoker.clusters.cluster import Cluster
from stoker.errors import StokerError, Unreachable
from stoker.tracking.run import RunRecord
from stoker.tracking.run_folder import RunFolder

OUTAGE_S = 300.0
"""A cluster that does not answer for longer is an error."""


def poll(cluster: Cluster, folder: RunFolder) -> Iterator[RunRecord]:
    """Yield the record of a run repeatedly; the last one has an ended state, and the whole log is in the folder.

    Raises:
        Unreachable: the cluster has not answered for too long.

    """
    answered = time.monotonic()
    while True:
        try:
            record = cluster.refresh(folder)
            answered = time.monotonic()
        except Unreachable:
            if time.monotonic() - answered > OUTAGE_S:
                raise
            record = folder.record()
        if record.state.ended:
            with suppress(StokerError):  # the outcome is known, with or without the log
                cluster.fetch_log(folder)
            yield record
            return
        yield record
        time.sleep(cluster.poll_s)
