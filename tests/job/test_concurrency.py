"""The number of trials that train at the same time."""

import sys

import pytest

from stoker.job import concurrency
from stoker.job.concurrency import (
    machine_cpus,
    trials_at_once,
    trials_that_fit,
    trials_that_fit_gpus,
    workers_per_gpu,
)
from stoker.jobfile.loading import parse_job

JOB = """
name: tiny
task: tabular-classification
architecture: mlp
dataset: iris
sweep: {trials: 40, space: {training.optimizer.lr: {min: 0.001, max: 0.1}}}
"""


def job(resources: str):
    return parse_job(f"{JOB}resources: {resources}\n", "tiny.yaml").job


@pytest.mark.parametrize(
    ("share", "count"), [(1, 1), (0.5, 2), (0.4, 2), (0.3333333333, 3), (0.3, 3), (0.25, 4), (0.1, 10), (0.6, 1)]
)
def test_workers_share_a_gpu_by_their_fraction(share, count):
    assert workers_per_gpu(share) == count


@pytest.mark.parametrize(
    ("resources", "cpus", "gpus", "trials"),
    [
        ("{gpus: 0}", 16, 2, 16),
        ("{gpus: 1}", 16, 2, 2),
        ("{}", 16, 2, 2),  # the default is one GPU per worker if there are GPUs
        ("{}", 16, 0, 16),
        ("{gpus: 0.25}", 16, 2, 8),
        ("{gpus: 0.4}", 16, 2, 4),  # two per GPU: the remaining 0.2 stays unused
        ("{gpus: 0.25, cpus: 4}", 16, 2, 4),
        ("{gpus: 1, workers: 2}", 16, 8, 4),
        ("{gpus: 0.5}", 16, 0, 0),
    ],
)
def test_as_many_trials_as_fit(resources, cpus, gpus, trials):
    sweep = job(resources)
    assert trials_that_fit(sweep, cpus, gpus) == trials
    assert trials_at_once(sweep, cpus, gpus) == max(1, trials)
    assert min(trials_at_once(sweep, cpus, None), trials_that_fit_gpus(sweep, gpus)) == trials


def test_trials_without_a_gpu_are_not_limited_by_gpus():
    assert trials_that_fit_gpus(job("{gpus: 0}"), 0) == sys.maxsize


@pytest.mark.parametrize(
    ("limit", "cores"), [("150000 100000", 1), ("50000 100000", 1), ("900000000 100000", None), ("max 100000", None)]
)
def test_the_cpu_limit_of_a_container_counts_in_cgroup_v2(tmp_path, monkeypatch, limit, cores):
    monkeypatch.setattr(concurrency, "CGROUP", tmp_path)
    own = machine_cpus()
    (tmp_path / "cpu.max").write_text(f"{limit}\n")
    assert machine_cpus() == (cores or own)


@pytest.mark.parametrize(("quota", "cores"), [(150000, 1), (50000, 1), (900000000, None), (-1, None)])
def test_the_cpu_limit_of_a_container_counts_in_cgroup_v1(tmp_path, monkeypatch, quota, cores):
    monkeypatch.setattr(concurrency, "CGROUP", tmp_path)
    own = machine_cpus()
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert machine_cpus() == (cores or own)
