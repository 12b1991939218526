"""The trials of a sweep in MLflow while its server is down temporarily."""

import socket
import threading

import pytest

from stoker.clusters.mlflow_api import MlflowApi
from stoker.settings import Settings
from stoker.tracking.run import State
from stoker.tracking.tags import PARENT_TAG, RUN_TAG, STATE_TAG

PATIENCE_S = 60.0


@pytest.mark.slow
def test_an_outage_loses_nothing(tmp_path, new_sweep, tracking_server, until, answers, without_retries):
    tracking_server.start()
    until(lambda: answers(f"{tracking_server.uri}/health"), "the server", 90)
    sweep = new_sweep(Settings(tmp_path / "home", tracking_server.uri))
    parent = sweep.open()
    pages = sweep.pages(parent)
    pages.start()
    sweep.begin(0)
    sweep.train(0, 1)
    until(lambda: 0 in sweep.announced, "the first page")
    tracking_server.stop()
    sweep.end(0, metrics=sweep.train(0, 2, first=2))
    sweep.whole(1)
    until(lambda: pages._reason != "", "the outage to be noticed")
    tracking_server.start()
    assert pages.close(120.0) == ""
    for number, run in sweep.recorded().items():
        assert run.info.status == "FINISHED"
        sweep.check_journal(number)
    tracking_server.stop()
    sweep.whole(2)
    pages = sweep.pages(parent)
    pages.start()
    trouble = pages.close(3.0)
    assert "3 of 3 trials did not reach MLflow completely" in trouble


def test_a_lost_response_duplicates_nothing(
    tmp_path, new_sweep, tracking_server, until, answers, without_retries, ship_all
):
    tracking_server.start()
    until(lambda: answers(f"{tracking_server.uri}/health"), "the server", 90)
    with ResponseDroppingProxy(int(tracking_server.uri.rpartition(":")[2]), "runs/create") as lossy:
        sweep = new_sweep(Settings(tmp_path / "home", f"http://127.0.0.1:{lossy.port}"))
        lossy.losing = 0
        parent = sweep.open()
        lossy.losing = 1
        sweep.whole(0)
        sweep.whole(1)
        sweep.begin(2)
        ship_all(sweep, parent)
        found = sweep.recorded()
    assert lossy.lost == 1
    assert sorted(found) == [0, 1, 2]
    MlflowApi(tracking_server.uri).end(sweep.header.experiment, sweep.header.id, State.CANCELLED)  # as a client does
    assert [sweep.recorded()[number].info.status for number in range(3)] == ["FINISHED", "FINISHED", "KILLED"]
    assert sweep.recorded()[2].data.tags[STATE_TAG] == "CANCELLED"


def test_duplicate_child_runs_are_merged_in_the_end(sweep, ship_all):
    sweep.whole(0)
    parent = sweep.open()
    ship_all(sweep, parent)
    kept = sweep.recorded()[0].info.run_id
    tags = {RUN_TAG: f"{sweep.header.id}.0", PARENT_TAG: parent.run_id}
    parent.client.create_run(parent.experiment_id, tags=tags)
    ship_all(sweep, parent)
    assert sweep.recorded()[0].info.run_id == kept


class ResponseDroppingProxy:
    """A proxy that drops the connection instead of forwarding a response."""

    def __init__(self, server: int, path: str) -> None:
        self._server, self._path = server, path.encode()
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        self.losing = 0
        self.lost = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self._thread.join()

    def _serve(self):
        while True:
            try:
                caller, _ = self._door.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(caller,), daemon=True).start()

    def _pass_on(self, caller):
        with caller, socket.create_connection(("127.0.0.1", self._server)) as server:
            while request := caller.recv(1 << 20):
                server.sendall(request)
                while not _whole(request):
                    request += (more := caller.recv(1 << 20))
                    server.sendall(more)
                answer = server.recv(1 << 20)
                while not _whole(answer):
                    answer += server.recv(1 << 20)
                if self._path in request.split(b"\r\n")[0] and self.losing:
                    self.losing -= 1
                    self.lost += 1
                    return
                caller.sendall(answer)


def _whole(message):
    head, end, body = message.partition(b"\r\n\r\n")
    sizes = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    return bool(end) and len(body) >= (sizes[0] if sizes else 0)
