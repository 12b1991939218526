"""System metrics of workers that the driver cannot ask, by way of Ray's key-value store."""

import json
import threading
from contextlib import suppress
from dataclasses import asdict

from stoker.execution.system_metrics.sampler import SystemSampler
from stoker.tracking.system_metrics import SystemSample

POLL_S = 0.5


class SystemRelay:
    """Leaves the newest sample of this process in the store, until the block ends.

    Args:
        run: its id.
        rank: of this worker.
        sampler: of this process; None leaves nothing.

    """

    def __init__(self, run: str, rank: int, sampler: SystemSampler | None) -> None:
        self._key = _key(run, rank)
        self._sampler = sampler
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="system-relay", daemon=True)

    def __enter__(self) -> "SystemRelay":
        """Start a thread of its own."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave a last sample, however short the work was."""
        self._over.set()
        self._thread.join()
        self._leave(self._sampler.last() if self._sampler else None)

    def _follow(self) -> None:
        while not self._over.wait(POLL_S):
            self._leave(self._sampler.due() if self._sampler else None)

    def _leave(self, sample: SystemSample | None) -> None:
        from ray.experimental.internal_kv import _internal_kv_put

        if sample:
            with suppress(Exception):  # no figure is worth a failed worker
                _internal_kv_put(self._key, json.dumps(asdict(sample)), overwrite=True)


class RelayedSamples:
    """The samples that a run's workers leave from now on, each once.

    Args:
        run: its id.
        workers: their number.

    """

    def __init__(self, run: str, workers: int) -> None:
        self._keys = {rank: _key(run, rank) for rank in range(workers)}
        self._times = dict.fromkeys(self._keys, 0)
        self.new()  # those of an earlier attempt

    def new(self) -> list[tuple[int, SystemSample]]:
        """Return the samples that are newer than those before, by rank."""
        from ray.experimental.internal_kv import _internal_kv_get

        found = []
        for rank, key in self._keys.items():
            with suppress(Exception):  # the store does not answer for now
                content = _internal_kv_get(key)
                if content and (sample := SystemSample(**json.loads(content))).time_ms > self._times[rank]:
                    self._times[rank] = sample.time_ms
                    found.append((rank, sample))
        return found


def _key(run: str, rank: int) -> bytes:
    return f"stoker:{run}:system:{rank}".encode()
