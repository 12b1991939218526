"""Cgroups v2 and v1, as folders of the files that the kernel has."""

import psutil
import pytest

from stoker.execution.system_metrics.cgroups import Cgroups
from stoker.execution.system_metrics.usage import ContainerUsage, ProcessUsage, worker_usage

GIB = 1 << 30
V2 = {
    "cpu.max": "150000 100000\n",
    "cpu.stat": "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\n",
    "memory.max": f"{GIB}\n",
    "memory.current": "300000000\n",
    "memory.stat": "anon 150000000\nfile 140000000\ninactive_file 100000000\n",
}
V1 = {
    "cpu/cpu.cfs_quota_us": "50000\n",
    "cpu/cpu.cfs_period_us": "100000\n",
    "cpuacct/cpuacct.usage": "2500000000\n",
    "memory/memory.limit_in_bytes": f"{GIB}\n",
    "memory/memory.usage_in_bytes": "300000000\n",
    "memory/memory.stat": "cache 1\ninactive_file 5\ntotal_cache 140000000\ntotal_inactive_file 100000000\n",
}
IN_V2 = "0::/\n"
IN_V1 = "5:memory:/kubepods/pod1/c1\n4:cpu,cpuacct:/kubepods/pod1/c1\n1:name=systemd:/kubepods/pod1/c1\n0::/\n"
NO_LIMIT_V1 = "9223372036854771712\n"


@pytest.fixture
def cgroups(tmp_path):
    """Write files below a folder that stands for /sys/fs/cgroup."""

    def write(membership, files):
        for name, text in files.items():
            file = tmp_path / "cgroup" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        (tmp_path / "membership").write_text(membership)
        return Cgroups(tmp_path / "cgroup", tmp_path / "membership")

    return write


@pytest.mark.parametrize(("membership", "files", "cores"), [(IN_V2, V2, 1.5), (IN_V1, V1, 0.5)], ids=["v2", "v1"])
def test_a_container_with_limits_has_its_own_usage(membership, files, cores, cgroups):
    found = worker_usage(True, cgroups(membership, files))
    assert isinstance(found, ContainerUsage)
    assert (found.cpus, found.memory_bytes) == (cores, GIB)
    assert found.cpu_s() == 2.5
    assert found.used_bytes() == 200_000_000  # without the file pages that the kernel drops first


def test_workers_that_share_a_container_have_its_limits_and_the_usage_of_their_processes(cgroups):
    found = worker_usage(False, cgroups(IN_V2, V2))
    assert isinstance(found, ProcessUsage)
    assert (found.cpus, found.memory_bytes) == (1.5, GIB)


@pytest.mark.parametrize(
    ("membership", "files"),
    [
        (IN_V2, V2 | {"cpu.max": "max 100000\n", "memory.max": "max\n"}),
        (IN_V1, V1 | {"cpu/cpu.cfs_quota_us": "-1\n", "memory/memory.limit_in_bytes": NO_LIMIT_V1}),
        (IN_V2, {}),
    ],
    ids=["v2", "v1", "no cgroups"],
)
def test_without_a_limit_the_processes_count_and_the_machine_is_the_limit(membership, files, cgroups):
    found = worker_usage(True, cgroups(membership, files))
    assert isinstance(found, ProcessUsage)
    assert found.memory_bytes == psutil.virtual_memory().total


def test_a_limit_of_memory_alone_makes_a_container(cgroups):
    found = worker_usage(True, cgroups(IN_V2, V2 | {"cpu.max": "max 100000\n"}))
    assert isinstance(found, ContainerUsage)
    assert found.cpus >= 1


def test_the_nearest_cgroup_counts_and_a_limit_may_be_above_it(cgroups):
    files = {f"a/b/{name}": text for name, text in V2.items()} | {"a/b/memory.max": "max\n", "a/memory.max": "1000\n"}
    found = cgroups("0::/a/b\n", files | {"memory.current": "7\n"})
    assert found.memory_limit() == 1000
    assert worker_usage(True, found).used_bytes() == 200_000_000


def test_a_machine_without_cgroups_has_none(tmp_path):
    assert list(Cgroups(tmp_path, tmp_path / "missing").files("memory.max", "memory/memory.limit_in_bytes")) == []
