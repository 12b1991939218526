"""One client for HTTP, against a small server."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from stoker.http_client import ErrorStatus, HttpClient, NoResponse, is_loopback

BODY = b"0123456789"


class Server(ThreadingHTTPServer):
    """Answers everything alike, and keeps the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.status, self.headers, self.sent = 200, {}, len(BODY)
        self.requests: list[tuple[str, str, bytes, str | None]] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.command, self.path, body, self.headers.get("Authorization")))
        self.send_response(self.server.status)
        for name, value in {**self.server.headers, "Content-Length": str(len(BODY))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(BODY[: self.server.sent])

    do_POST = do_GET  # noqa: N815 - the name that the server looks for

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_request_carries_the_clients_headers_and_its_body(server):
    client = HttpClient(f"{server.address}/", {"Authorization": "Bearer x"})
    assert client.request("POST", "/a?b=c", b"{}", "application/json") == BODY
    assert server.requests == [("POST", "/a?b=c", b"{}", "Bearer x")]


def test_an_error_status_keeps_the_body(server):
    server.status = 418
    with pytest.raises(ErrorStatus, match="HTTP 418") as raised:
        HttpClient(server.address).request("GET", "/")
    assert (raised.value.status, raised.value.body) == (418, BODY.decode())


def test_redirects_are_followed_unless_the_client_refuses_them(server):
    server.status, server.headers = 302, {"Location": f"{server.address}/other"}
    with pytest.raises(ErrorStatus, match="HTTP 302"):
        HttpClient(server.address, redirects=False).request("GET", "/")
    assert [path for _, path, _, _ in server.requests] == ["/"]


def test_a_download_is_whole_or_not_there(server, tmp_path):
    target = tmp_path / "folder" / "file"
    server.sent = 4
    with pytest.raises(NoResponse, match="the connection closed in the middle of file"):
        HttpClient(server.address).download("/", target)
    assert not target.exists()
    server.sent = len(BODY)
    HttpClient(server.address).download("/", target)
    assert target.read_bytes() == BODY


def test_no_response_has_a_short_reason(server):
    server.sent = 4
    with pytest.raises(NoResponse):
        HttpClient(server.address).request("GET", "/")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(NoResponse, match=r"^Connection refused$"):
            HttpClient(f"http://127.0.0.1:{free.getsockname()[1]}").request("GET", "/")


@pytest.mark.parametrize(
    ("address", "loopback"),
    [("http://127.0.0.1:1", True), ("http://[::1]/", True), ("http://localhost", True), ("https://example.com", False)],
)
def test_addresses_of_this_machine_are_known(address, loopback):
    assert is_loopback(address) == loopback


def test_no_proxy_stands_before_this_machine(server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert HttpClient(server.address).request("GET", "/") == BODY
