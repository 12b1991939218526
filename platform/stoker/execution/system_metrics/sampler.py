"""Samples of what a worker uses of its machine, under MLflow's names of system metrics."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import psutil

from stoker.execution.system_metrics.cgroups import Cgroups
from stoker.execution.system_metrics.gpus import Gpus
from stoker.execution.system_metrics.usage import Usage, worker_usage
from stoker.tracking.system_metrics import SystemSample

ENABLED, INTERVAL = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"
"""MLflow's environment variables: `false` for no system metrics; seconds between two samples."""
EVERY_S = 10.0
"""MLflow's default."""
SHORTEST_S = 0.1
"""From a sample to the last one: the CPU times of the kernel have a resolution of 0.01 s."""


class SystemSampler:
    """Samples the usage since its creation.

    Disk and network are those of the machine, or of the container that the process is in.

    Args:
        usage: source of CPU time and memory.
        gpus: that the process sees.
        every_s: interval of samples.
        work: returns what else is known since the sample before, by name.

    """

    def __init__(self, usage: Usage, gpus: Gpus, every_s: float, work: Callable[[], dict[str, float]] = dict) -> None:
        self._usage = usage
        self._gpus = gpus
        self._every_s = every_s
        self._work = work
        self._lock = threading.RLock()
        """The last sample is taken by another thread."""
        self._newest: SystemSample | None = None
        self._network = psutil.net_io_counters()
        self._time, self._cpu_s = time.monotonic(), usage.cpu_s()

    def due(self) -> SystemSample | None:
        """Return a sample if the interval has passed since the one before."""
        return self._sample(self._every_s)

    def last(self) -> SystemSample | None:
        """Return a sample at the end of the work, however short that was."""
        return self._sample(SHORTEST_S)

    def newest(self) -> SystemSample | None:
        """Return the newest sample, taken now if it is due: again and again, since an answer may stay unread."""
        with self._lock:
            self.due()
            return self._newest

    def rest(self) -> tuple[SystemSample, ...]:
        """Return, at the end of the work, the newest sample and the last one."""
        with self._lock:
            return tuple(sample for sample in (self._newest, self.last()) if sample is not None)

    def _sample(self, after_s: float) -> SystemSample | None:
        with self._lock:
            passed_s = time.monotonic() - self._time
            if passed_s < after_s:
                return None
            self._time += passed_s
            metrics: dict[str, float] = {}
            for read in (
                self._memory,
                lambda: self._cpu(passed_s),
                _disk,
                self._traffic,
                self._gpus.metrics,
                self._work,
            ):
                with suppress(Exception):  # no figure is worth a failed worker
                    metrics |= read()
            sample = SystemSample(time.time_ns() // 1_000_000, metrics) if metrics else None
            self._newest = sample or self._newest
            return sample

    def _cpu(self, passed_s: float) -> dict[str, float]:
        before, self._cpu_s = self._cpu_s, self._usage.cpu_s()
        return {"cpu_utilization_percentage": 100 * max(0.0, self._cpu_s - before) / passed_s / self._usage.cpus}

    def _memory(self) -> dict[str, float]:
        used = self._usage.used_bytes()
        percentage = 100 * used / self._usage.memory_bytes
        return {"system_memory_usage_megabytes": used / 1e6, "system_memory_usage_percentage": percentage}

    def _traffic(self) -> dict[str, float]:
        now, first = psutil.net_io_counters(), self._network
        received, sent = now.bytes_recv - first.bytes_recv, now.bytes_sent - first.bytes_sent
        return {"network_receive_megabytes": received / 1e6, "network_transmit_megabytes": sent / 1e6}


def system_sampler(
    own_container: bool,
    environment: Mapping[str, str] = os.environ,
    work: Callable[[], dict[str, float]] = dict,
) -> SystemSampler | None:
    """Return the sampler of this process; None if the user, or the machine, permits none.

    Args:
        own_container: whether this process has its container for itself.
        environment: with MLflow's variables and the visible GPUs.
        work: returns what else is known since the sample before, by name.

    """
    if environment.get(ENABLED, "").lower() in ("false", "0"):
        return None
    every_s = EVERY_S
    with suppress(ValueError):  # MLflow's own message is for those who call MLflow
        every_s = float(environment.get(INTERVAL) or EVERY_S)
    gpus = Gpus(environment.get("CUDA_VISIBLE_DEVICES"))
    try:
        return SystemSampler(worker_usage(own_container, Cgroups()), gpus, every_s, work)
    except Exception:  # a machine that hides its use from processes
        return None


def _disk() -> dict[str, float]:
    disk = psutil.disk_usage(os.sep)
    return {
        "disk_usage_percentage": disk.percent,
        "disk_usage_megabytes": disk.used / 1e6,
        "disk_available_megabytes": disk.free / 1e6,
    }
