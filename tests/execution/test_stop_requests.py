import threading

import pytest

from stoker.execution.stop_requests import Requests, Stop
from stoker.tracking.run_folder import RunFolder


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path)


@pytest.fixture
def terminated():
    return threading.Event()


def test_nobody_asks_for_anything(folder, terminated):
    requests = Requests(folder, terminated)
    assert requests.stop() is None
    assert requests.wait(0.05, poll_s=0.01) is None


def test_the_strongest_request_wins(folder, terminated):
    requests = Requests(folder, terminated)
    terminated.set()
    assert requests.stop() is Stop.TERMINATE
    requests.limit(0)
    assert requests.stop() is Stop.TIMEOUT
    folder.pause_request.touch()
    assert requests.stop() is Stop.PAUSE
    folder.cancel_request.touch()
    assert requests.stop() is Stop.CANCEL


def test_a_request_ends_a_wait(folder, terminated):
    requests = Requests(folder, terminated)
    threading.Timer(0.1, folder.pause_request.touch).start()
    assert requests.wait(60) is Stop.PAUSE
