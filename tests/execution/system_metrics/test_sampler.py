"""Samples of this process, by MLflow's names."""

import time

import psutil
import pytest
from mlflow.environment_variables import MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING, MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

from stoker.execution.heartbeat import Heartbeat
from stoker.execution.system_metrics.sampler import ENABLED, INTERVAL, system_sampler


def busy(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_a_sample_has_mlflows_names_and_plausible_values():
    sampler = system_sampler(False, {})
    busy(0.3)
    sample = sampler.last()
    theirs = set()
    for monitor in (CPUMonitor(), DiskMonitor(), NetworkMonitor()):
        monitor.collect_metrics()
        theirs |= set(monitor.metrics)
    assert {name for name in sample.metrics if not name.startswith("gpu_")} == theirs
    assert abs(sample.time_ms / 1000 - time.time()) < 60
    used = psutil.Process().memory_info().rss / 1e6
    assert sample.metrics["system_memory_usage_megabytes"] >= 0.5 * used
    assert 0 < sample.metrics["system_memory_usage_percentage"] < 100
    assert 0 < sample.metrics["cpu_utilization_percentage"] <= 110
    assert 0 <= sample.metrics["network_receive_megabytes"] < 1000


def test_samples_keep_their_interval_and_the_last_one_does_not():
    assert (
        MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING.name,
        MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL.name,
    ) == (ENABLED, INTERVAL)
    sampler = system_sampler(False, {})
    busy(0.15)
    assert sampler.due() is None
    assert sampler.last() is not None
    assert sampler.last() is None  # nothing has happened since
    sampler = system_sampler(False, {INTERVAL: "0.1"})
    busy(0.15)
    assert sampler.due() is not None
    assert sampler.due() is None


def test_a_sample_that_nobody_has_read_comes_again_with_the_end():
    heartbeat = Heartbeat()
    heartbeat.trained = (300, 2.0)
    sampler = system_sampler(False, {INTERVAL: "0.1"}, work=heartbeat.work)
    assert sampler.newest() is None
    busy(0.15)
    sample = sampler.newest()
    assert sample.metrics["tokens_per_second"] == 150
    assert sampler.newest() == sample
    assert sampler.rest() == (sample,)  # at once: too early for another one
    busy(0.15)
    first, last = sampler.rest()
    assert first == sample
    assert last.time_ms > sample.time_ms


@pytest.mark.parametrize("word", ["false", "False", "0"])
def test_mlflows_variable_switches_it_off(word):
    assert system_sampler(False, {ENABLED: word}) is None
    assert system_sampler(False, {ENABLED: "true", INTERVAL: "often"}) is not None
