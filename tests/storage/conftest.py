"""A real S3 server of the tests, and a bad line to it."""

import http.client
import logging
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

import boto3
import pytest
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from stoker.storage import S3Storage

FAULTS = ("slow down", "internal error", "reset", "answer lost", "answer cut")
BUCKET = "models"

PART_BYTES = 5 << 20
"""The smallest that S3 takes."""

Rule = Callable[[str, str], str]
"""What goes wrong with a request (method, path), in the words of `_Request`; the empty string where nothing does."""


class BadLine(ThreadingHTTPServer):
    """A proxy that spoils answers: where `rule` says so, or else at random, with a seed."""

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.upstream = urlsplit(upstream)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.rule: Rule = lambda _method, _path: ""
        self.seen: Counter[str] = Counter()
        self._lock = threading.Lock()

    def spoil(self, seed: int, rate: float) -> None:
        """Spoil this share of the answers."""
        draw = random.Random(seed)
        self.rule = lambda _method, _path: draw.choice(FAULTS) if draw.random() < rate else ""

    def spoil_first(self, times: int, fault: str, method: str) -> None:
        """Spoil so many answers to one method, then none."""
        left = iter(range(times))
        self.rule = lambda asked, _path: fault if asked == method and next(left, None) is not None else ""

    def fault(self, method: str, path: str) -> str:
        with self._lock:
            fault = self.rule(method, path)
            self.seen[fault] += 1
        return fault

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news here."""


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: BadLine

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        match self.server.fault(self.command, self.path):
            case "slow down":
                self._answer(503, _error("SlowDown"))
            case "internal error":
                self._answer(500, _error("InternalError"))
            case "refused":
                self._answer(403, _error("AccessDenied"))
            case "full":
                self._answer(507, _error("XMinioStorageFull"))
            case "upload gone":
                self._answer(404, _error("NoSuchUpload"))
            case "unheard of":
                self._answer(400, _error("NeverHeardOf"))
            case "reset":
                self._reset()
            case "answer lost":
                self._forward(body)
                self._reset()
            case "answer cut":
                self._answer(*self._forward(body), cut=True)
            case _:
                self._answer(*self._forward(body))

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815  http.server asks for these names

    def _forward(self, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        upstream = http.client.HTTPConnection(self.server.upstream.netloc, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("expect", "connection")}
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        kept = {n: v for n, v in answer.getheaders() if n.lower() not in ("connection", "content-length", "date")}
        upstream.close()
        return answer.status, content, kept

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = cut

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _error(code: str) -> bytes:
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>on purpose</Message></Error>'.encode()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """An S3 server, by its URL."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # not a line for each request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def client(s3_server: str) -> Any:
    """A client on the good line: what the server really has."""
    keys = {"aws_access_key_id": "somebody", "aws_secret_access_key": "something", "region_name": "us-east-1"}
    return boto3.session.Session(**keys).client("s3", endpoint_url=s3_server)


@pytest.fixture
def s3(client: Any, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The same with a fresh bucket, and an environment that names the server to everybody else."""
    name_server(monkeypatch, s3_server)
    client.create_bucket(Bucket=BUCKET)
    yield client
    with urllib.request.urlopen(urllib.request.Request(f"{s3_server}/moto-api/reset", method="POST")):
        pass


@pytest.fixture(scope="session")
def bucket_storage(s3_server: str) -> Callable[[str], S3Storage]:
    """Open the bucket with a prefix, once for all tests that let it work in peace: a client takes half a second."""

    @cache
    def opened(prefix: str) -> S3Storage:
        with pytest.MonkeyPatch.context() as environment:
            name_server(environment, s3_server)
            return S3Storage(BUCKET, prefix, part_bytes=PART_BYTES)

    return opened


def name_server(environment: pytest.MonkeyPatch, url: str) -> None:
    """Name a server to boto3 by the standard variables."""
    environment.setenv("AWS_ENDPOINT_URL", url)
    environment.setenv("AWS_ACCESS_KEY_ID", "somebody")
    environment.setenv("AWS_SECRET_ACCESS_KEY", "something")
    environment.delenv("AWS_PROFILE", raising=False)


@pytest.fixture
def bad_line(s3: Any, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[BadLine]:
    """A proxy between everybody who goes by the environment and the server."""
    line = BadLine(s3_server)
    thread = threading.Thread(target=line.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", line.url)
    yield line
    line.shutdown()
    line.server_close()
    thread.join()
