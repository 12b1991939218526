"""Whether a tracking server answers."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from stoker.errors import Unreachable
from stoker.tracking.health import health_error, require_server


class Health(BaseHTTPRequestHandler):
    code = 200

    def do_GET(self) -> None:
        self.send_response(self.code if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, type[Health]]]:
    handler = type("OneHealth", (Health,), {})
    listening = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"127.0.0.1:{listening.server_port}", handler
    listening.shutdown()
    thread.join()
    listening.server_close()


def test_a_healthy_server_is_enough(server):
    require_server(f"http://{server[0]}/")
    require_server(f"http://user:secret@{server[0]}")


def test_a_refusal_is_an_answer(server):
    server[1].code = 401
    require_server(f"http://{server[0]}")


def test_a_broken_server_is_unreachable(server):
    server[1].code = 503
    with pytest.raises(Unreachable, match=r"does not answer \(HTTP 503\)"):
        require_server(f"http://{server[0]}")


def test_nobody_there_has_a_reason():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert health_error(f"http://127.0.0.1:{free.getsockname()[1]}") == "Connection refused"
