import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from stoker.clusters import verbs
from stoker.clusters.local.cluster import LocalCluster
from stoker.clusters.new_run import Origin
from stoker.errors import ClusterError, NotFound
from stoker.jobfile.loading import parse_job
from stoker.settings import load_settings
from stoker.tracking.run import Progress, RunHeader, RunStatus, State
from stoker.tracking.run_folder import RunFolder

JOB = "name: tiny\ntask: tabular-classification\ndataset: iris\n"
STOOD = RunStatus(
    State.FAILED,
    phase="",
    cause="HANG",
    message="nothing moved",
    started=5.0,
    ended=9.0,
    mlflow_run="abc",
    url="/#/x",
    exit_code=1,
    attempt=2,
    checkpoint_epoch=1,
    checkpoint_step=40,
)


@pytest.fixture
def ended(cluster):
    """A run without a driver."""

    def make(status: RunStatus, storage: str = "") -> RunFolder:
        folder = RunFolder(cluster.settings.home / "runs" / "a-1")
        folder.create(RunHeader("a-1", "a", "t", "f", "d", 1.0, 1, "", "", storage=storage), JOB)
        folder.write_status(status)
        return folder

    return make


def running(folder: RunFolder) -> bool:
    return folder.record().state is State.RUNNING


def test_a_home_that_is_a_file_is_said(cluster, job):
    cluster.settings.home.write_text("")
    with pytest.raises(ClusterError, match=r"cannot create a run in .*/home: .*; fix it or set STOKER_HOME"):
        cluster.submit(job)


def test_a_full_disk_is_said_before_anything_starts(job, tmp_path):
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


def test_the_home_is_its_owners_alone(cluster, job):
    cluster.submit(job)
    assert cluster.settings.home.stat().st_mode & 0o777 == 0o700


def test_a_driver_on_standby_goes_when_nobody_gives_it_a_run(cluster, job):
    with cluster.start_warm_driver(job) as driver:
        process = driver.process
        assert process.poll() is None
    assert process.wait(60) == 0
    assert list(cluster.settings.home.glob("runs/*")) == []


def test_a_driver_learns_of_workers_and_storage(settings, cluster, until):
    places = replace(settings, storage="s3://bucket/runs")
    job = parse_job(f"{JOB}resources: {{workers: 3, gpus: 0}}\n", "tiny.yaml").job
    folder = LocalCluster(places, cluster._driver).submit(job)
    until(lambda: running(folder), "the run")
    seen = json.loads((folder.path / "driver.json").read_text())
    assert seen["arguments"][2:] == ["--workers", "3", "--gpus", "0"]
    assert seen["environment"]["STOKER_STORAGE"] == "s3://bucket/runs"
    assert folder.header().storage == "s3://bucket/runs"


def test_the_code_goes_with_the_run(cluster, job, tmp_path):
    code = tmp_path / "code"
    (code / "nets" / "__pycache__").mkdir(parents=True)
    for name in ("model.py", "nets/__init__.py", "nets/layers.py", "nets/__pycache__/layers.py", "data.csv"):
        (code / name).write_text(f"# {name}\n")
    folder = cluster.submit(job, origin=Origin(code=code, extends="tiny-0", key="k"))
    shipped = sorted(path.relative_to(folder.code).as_posix() for path in folder.code.rglob("*") if path.is_file())
    assert shipped == ["model.py", "nets/__init__.py", "nets/layers.py"]
    assert (folder.code / "nets" / "layers.py").read_text() == "# nets/layers.py\n"
    assert (folder.header().extends, folder.header().key) == ("tiny-0", "k")


def test_kill_ends_a_run_whose_driver_does_not_respond(cluster, job, until):
    folder = cluster.submit(job)
    until(lambda: running(folder), "the run")
    os.kill(folder.driver_pid(), signal.SIGSTOP)
    assert verbs.kill(cluster, folder) == ""
    assert not folder.has_driver()
    assert folder.record().state is State.CANCELLED
    with pytest.raises(NotFound, match="is CANCELLED: nothing to"):
        verbs.kill(cluster, folder)


def test_a_run_without_code_has_no_folder_for_it(cluster, job):
    assert not cluster.submit(job).code.exists()


def test_a_driver_that_died_on_standby_fails_the_run(cluster, job):
    with cluster.start_warm_driver(job) as driver:
        driver.process.kill()
        driver.process.wait()
        with pytest.raises(ClusterError, match="its driver was killed before it had the run; submit it again"):
            cluster.submit(job, warm_driver=driver)
    (path,) = cluster.settings.home.glob("runs/*")
    assert RunFolder(path).record().state is State.FAILED


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED, State.PAUSED, State.RUNNING])
def test_what_did_not_come_to_its_end_goes_on(state, cluster, ended, until):
    """RUNNING without a driver is INTERRUPTED."""
    folder = ended(replace(STOOD, state=state))
    for request in (folder.pause_request, folder.cancel_request):
        request.touch()
    verbs.resume(cluster, folder)
    until(lambda: running(folder), "the run")
    status = folder.status()
    assert (status.attempt, status.started, status.mlflow_run, status.url) == (3, 5.0, "abc", "/#/x")
    assert (status.cause, status.message, status.ended, status.exit_code) == ("", "", 0.0, 0)
    assert not folder.pause_request.exists()
    assert not folder.cancel_request.exists()


def test_a_reopened_run_keeps_its_place_and_starts_from_the_first_phase(ended):
    folder = ended(STOOD)
    folder.write_progress(Progress("training", 2, 9, 80, 360, 12.0, {"loss/train": 0.5}))
    folder.reopen()
    status = folder.status()
    assert (status.state, status.phase) == (State.STARTING, RunStatus.phase)
    assert (status.attempt, status.checkpoint_epoch, status.checkpoint_step) == (2, 1, 40)
    assert folder.progress() == Progress("starting", 2, 9, 80, 360, 0.0, {"loss/train": 0.5})


def test_a_run_goes_on_with_the_storage_it_was_begun_with(cluster, ended, until):
    folder = ended(STOOD, storage="/mnt/checkpoints")
    verbs.resume(LocalCluster(replace(cluster.settings, storage="/elsewhere"), cluster._driver), folder)
    until(lambda: running(folder), "the run")
    seen = json.loads((folder.path / "driver.json").read_text())
    assert seen["environment"]["STOKER_STORAGE"] == "/mnt/checkpoints"


def test_what_has_succeeded_is_not_resumed(cluster, ended):
    folder = ended(RunStatus(State.SUCCEEDED))
    with pytest.raises(NotFound, match="a-1 has succeeded; `stoker extend a-1 --epochs N` trains it further"):
        verbs.resume(cluster, folder)
    assert folder.record().state is State.SUCCEEDED


def test_what_goes_on_is_not_resumed(cluster, job, until):
    folder = cluster.submit(job)
    until(lambda: running(folder), "the run")
    with pytest.raises(NotFound, match=f"{folder.path.name} is RUNNING: its driver is alive"):
        verbs.resume(cluster, folder)


def test_of_many_who_resume_a_run_one_does(cluster, ended, until):
    folder = ended(STOOD)
    outcomes: list[str] = []

    def resume() -> None:
        try:
            verbs.resume(cluster, folder)
            outcomes.append("resumed")
        except NotFound as error:
            outcomes.append(str(error).partition(": ")[2])

    threads = [threading.Thread(target=resume) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["its driver is alive"] * 5 + ["resumed"]
    until(lambda: running(folder), "the run")
    assert folder.status().attempt == 3


def test_resuming_waits_for_the_last_driver_to_go(cluster, job, until):
    folder = cluster.submit(job)
    until(lambda: running(folder), "the run")
    verbs.pause(cluster, folder)
    until(lambda: folder.record().state is State.PAUSED, "the pause")
    assert folder.has_driver()  # it is putting things away
    verbs.resume(cluster, folder)
    until(lambda: running(folder), "the run")
    assert folder.status().attempt == 2


def test_a_driver_that_died_on_standby_leaves_a_resumed_run_as_it_was(cluster, ended):
    """Its lease is held until that driver is gone for certain."""
    folder = ended(STOOD)
    lease = folder.hold_lease(os.getpid())
    letting_go = threading.Timer(1.5, os.close, [lease])
    letting_go.start()
    dying = LocalCluster(cluster.settings, (sys.executable, "-S", "-c", ""))
    with pytest.raises(ClusterError, match="its driver was killed before it had the run; resume it again"):
        verbs.resume(dying, folder)
    letting_go.join()
    assert folder.record().status == STOOD


def test_a_run_rests_when_asked_to(cluster, job, until):
    folder = cluster.submit(job)
    until(lambda: running(folder), "the run")
    verbs.pause(cluster, folder)
    until(lambda: folder.record().state is State.PAUSED, "the pause")
    with pytest.raises(NotFound, match="is PAUSED: nothing to pause"):
        verbs.pause(cluster, folder)


@pytest.mark.parametrize("state", [State.PAUSED, State.RUNNING, State.RETRYING])
def test_what_nothing_works_on_is_cancelled_at_once(state, cluster, ended):
    folder = ended(replace(STOOD, state=state))
    assert verbs.cancel(cluster, folder) == ""
    status = folder.record().status
    assert (status.state, status.exit_code, status.message) == (State.CANCELLED, 1, "")
    assert (status.checkpoint_step, status.attempt) == (40, 2)
    assert status.ended > status.started
    assert not folder.has_driver()


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.CANCELLED])
def test_cancelling_what_has_ended_is_said(state, cluster, ended):
    folder = ended(RunStatus(state))
    with pytest.raises(NotFound, match=f"a-1 is {state}: nothing to cancel"):
        verbs.cancel(cluster, folder)
    assert not folder.cancel_request.exists()


def test_the_module_is_light():
    heavy = ("ray", "torch", "mlflow", "pydantic", "psutil")
    script = f"import sys, stoker.clusters.local.cluster; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=os.environ, check=True)
    assert done.stdout.strip() == "[]"
