"""Requests that reach a driver over its control channel."""

import pytest

from stoker.execution.control_channel import serve
from stoker.tracking.run import RunStatus, State
from stoker.tracking.run_folder import RunFolder


class FakeChannel:
    def __init__(self, request):
        self._request = request

    def publish(self, name, content):
        pass

    def request(self):
        return self._request

    def close(self):
        pass


@pytest.mark.parametrize(
    ("request_", "files"),
    [
        ("cancel", ["cancel"]),
        ("pause", ["pause"]),
        ("cancel 3 5 8", ["trials/s.3/cancel", "trials/s.5/cancel"]),
        ("", []),
    ],
)
def test_a_request_becomes_a_file_for_the_driver(tmp_path, request_, files):
    sweep = RunFolder(tmp_path / "s")
    for number in (3, 5):
        sweep.trial(number).path.mkdir(parents=True)
    sweep.write_status(RunStatus(State.RUNNING))
    with serve(FakeChannel(request_), sweep, 1):
        pass
    found = {str(path.relative_to(sweep.path)) for path in sweep.path.rglob("*") if path.name in ("cancel", "pause")}
    assert found == set(files)
