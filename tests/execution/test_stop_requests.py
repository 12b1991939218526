import threading

import pytest

from stoker.execution.stop_requests import StopReason, StopRequests
from stoker.tracking.run_folder import RunFolder


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path)


@pytest.fixture
def terminated():
    return threading.Event()


def test_there_is_no_request_at_first(folder, terminated):
    requests = StopRequests(folder, terminated)
    assert requests.reason() is None
    assert requests.wait(0.05, poll_s=0.01) is None


def test_the_strongest_request_wins(folder, terminated):
    requests = StopRequests(folder, terminated)
    terminated.set()
    assert requests.reason() is StopReason.TERMINATE
    requests.start_timeout(0)
    assert requests.reason() is StopReason.TIMEOUT
    folder.pause_request.touch()
    assert requests.reason() is StopReason.PAUSE
    folder.cancel_request.touch()
    assert requests.reason() is StopReason.CANCEL


def test_a_request_ends_a_wait(folder, terminated):
    requests = StopRequests(folder, terminated)
    threading.Timer(0.1, folder.pause_request.touch).start()
    assert requests.wait(60) is StopReason.PAUSE
