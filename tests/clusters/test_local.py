import os
import subprocess
import sys

import pytest

from stoker.clusters.local import LocalCluster
from stoker.errors import ClusterError, NotFound
from stoker.settings import load_settings
from stoker.spec.loading import parse_job
from stoker.tracking.record import RunFolder, RunHeader, RunStatus, State

JOB = "name: tiny\ntask: tabular-classification\ndataset: iris\n"


@pytest.fixture
def cluster(tmp_path):
    return LocalCluster(load_settings(str(tmp_path / "home"), environment={"XDG_CONFIG_HOME": str(tmp_path)}))


@pytest.fixture
def job():
    return parse_job(JOB, "tiny.yaml").job


def test_a_home_that_is_a_file_is_said(cluster, job):
    cluster.settings.home.write_text("")
    with pytest.raises(ClusterError, match=r"cannot make a run in .*/home: .*; mend it or set STOKER_HOME"):
        cluster.submit(job)


def test_a_full_disk_is_said_before_anything_starts(cluster, job, tmp_path):
    """In a process of its own, on a disk of its own: a small file system in memory."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system takes root")
    try:
        small = LocalCluster(load_settings(str(disk / "home"), environment={"XDG_CONFIG_HOME": str(tmp_path)}))
        with pytest.raises(ClusterError, match=r"\d MiB are free in .*, 200 MiB are needed; free some"):
            small.submit(job)
        assert list(disk.glob("home/runs/*")) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_driver_on_standby_goes_when_nobody_gives_it_a_run(cluster, job):
    with cluster.stand_by(job) as standby:
        process = standby.process
        assert process.poll() is None
    assert process.wait(60) == 0
    assert list(cluster.settings.home.glob("runs/*")) == []


def test_cancelling_what_has_ended_is_said(cluster):
    folder = RunFolder(cluster.settings.home / "runs" / "a-1")
    folder.create(RunHeader("a-1", "a", "t", "f", "d", 1.0, 1, "", ""), JOB)
    folder.write_status(RunStatus(State.SUCCEEDED))
    with pytest.raises(NotFound, match="a-1 is SUCCEEDED: nothing to cancel"):
        cluster.cancel(folder)
    assert not folder.cancel_request.exists()


def test_the_module_is_light():
    heavy = ("ray", "torch", "mlflow", "pydantic", "psutil")
    script = f"import sys, stoker.clusters.local; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=os.environ, check=True)
    assert done.stdout.strip() == "[]"
