"""A pod that is about to end waits for the checkpoint of its workers."""

import subprocess
import sys
import threading
import time

import pytest

from stoker.execution.leaving import LEAVING, busy, is_leaving, leave


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv(LEAVING, str(tmp_path / "leaving"))
    return tmp_path / "leaving"


def test_a_pod_without_an_attempt_ends_at_once(file):
    assert not is_leaving()
    with busy():
        pass
    assert leave(file, 60)
    assert is_leaving()


def test_a_pod_waits_for_the_end_of_an_attempt(file):
    ended = threading.Event()

    def attempt():
        with busy():
            while not is_leaving():
                time.sleep(0.01)
            ended.set()

    thread = threading.Thread(target=attempt)
    thread.start()
    while not list(file.parent.iterdir()):
        time.sleep(0.01)
    subprocess.run([sys.executable, "-m", "stoker.execution.leaving", "60"], check=True, timeout=60)
    assert ended.is_set()
    thread.join()


def test_a_pod_does_not_wait_for_ever(file):
    with busy():
        assert not leave(file, 0.1)


def test_a_pod_does_not_wait_for_a_killed_worker(file):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    file.with_name(f"{file.name}.{gone.pid}.busy").touch()
    assert leave(file, 60)


def test_nothing_is_left_where_nothing_takes_pods_away(tmp_path, monkeypatch):
    monkeypatch.delenv(LEAVING, raising=False)
    monkeypatch.chdir(tmp_path)
    with busy():
        assert not is_leaving()
    assert list(tmp_path.iterdir()) == []
