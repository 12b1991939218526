"""An S3 server for the tests, and a proxy in front of it that injects faults."""

import http.client
import random
import socket
import struct
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from stoker.storage import S3Storage

FAULTS = ("slow down", "internal error", "reset", "response lost", "response truncated")
BUCKET = "models"

PART_BYTES = 5 << 20
"""The minimum of S3."""

Rule = Callable[[str, str], str]
"""Returns the fault of a request (method, path), one of those in `_Request.do_GET`; empty for none."""


class FaultyProxy(ThreadingHTTPServer):
    """A proxy that injects faults into responses as its `rule` decides."""

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.upstream = urlsplit(upstream)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.rule: Rule = lambda _method, _path: ""
        self.faults: Counter[str] = Counter()
        self._lock = threading.Lock()

    def fail_randomly(self, seed: int, rate: float) -> None:
        """Inject a fault into a fraction of the responses."""
        draw = random.Random(seed)
        self.rule = lambda _method, _path: draw.choice(FAULTS) if draw.random() < rate else ""

    def fail_first(self, times: int, fault: str, method: str) -> None:
        """Inject a fault into the first responses to a method."""
        left = iter(range(times))
        self.rule = lambda asked, _path: fault if asked == method and next(left, None) is not None else ""

    def fault(self, method: str, path: str) -> str:
        with self._lock:
            fault = self.rule(method, path)
            self.faults[fault] += 1
        return fault

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that close the connection."""


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyProxy

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        match self.server.fault(self.command, self.path):
            case "slow down":
                self._respond(503, _error("SlowDown"))
            case "internal error":
                self._respond(500, _error("InternalError"))
            case "refused":
                self._respond(403, _error("AccessDenied"))
            case "full":
                self._respond(507, _error("XMinioStorageFull"))
            case "upload gone":
                self._respond(404, _error("NoSuchUpload"))
            case "unknown code":
                self._respond(400, _error("NeverHeardOf"))
            case "reset":
                self._reset()
            case "response lost":
                self._forward(body)
                self._reset()
            case "response truncated":
                self._respond(*self._forward(body), truncated=True)
            case _:
                self._respond(*self._forward(body))

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815  names that http.server calls

    def _forward(self, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        upstream = http.client.HTTPConnection(self.server.upstream.netloc, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("expect", "connection")}
        upstream.request(self.command, self.path, body, headers)
        response = upstream.getresponse()
        content = response.read()
        kept = {n: v for n, v in response.getheaders() if n.lower() not in ("connection", "content-length", "date")}
        upstream.close()
        return response.status, content, kept

    def _respond(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, truncated: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[: len(body) // 2] if truncated else body)
        self.close_connection = truncated

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def _error(code: str) -> bytes:
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>on purpose</Message></Error>'.encode()


@pytest.fixture
def s3(client: Any, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The client with an empty bucket, and the environment variables of the server."""
    set_server(monkeypatch, s3_server)
    client.create_bucket(Bucket=BUCKET)
    yield client
    with urllib.request.urlopen(urllib.request.Request(f"{s3_server}/moto-api/reset", method="POST")):
        pass


@pytest.fixture(scope="session")
def bucket_storage(s3_server: str) -> Callable[[str], S3Storage]:
    """Return a function that opens the bucket with a prefix, cached for all tests: a client takes half a second."""

    @cache
    def opened(prefix: str) -> S3Storage:
        with pytest.MonkeyPatch.context() as environment:
            set_server(environment, s3_server)
            return S3Storage(BUCKET, prefix, part_bytes=PART_BYTES)

    return opened


def set_server(environment: pytest.MonkeyPatch, url: str) -> None:
    """Set boto3's environment variables for a server."""
    environment.setenv("AWS_ENDPOINT_URL", url)
    environment.setenv("AWS_ACCESS_KEY_ID", "somebody")
    environment.setenv("AWS_SECRET_ACCESS_KEY", "something")
    environment.delenv("AWS_PROFILE", raising=False)


@pytest.fixture
def proxy(s3: Any, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """A proxy in front of the server, used by all clients that follow the environment."""
    proxy = FaultyProxy(s3_server)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    yield proxy
    proxy.shutdown()
    proxy.server_close()
    thread.join()
