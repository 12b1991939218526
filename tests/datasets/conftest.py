"""Test servers: a file server that can fail in many ways, S3 by moto, and a hub of datasets."""

import hashlib
import http.client
import json
import re
import socket
import struct
import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from stoker.datasets.cache import Cache

BUCKET = "datasets"
COMMIT = "c0ffee" + "0" * 34
Answer = tuple[int, dict[str, str], bytes]


class FileServer(ThreadingHTTPServer):
    """Serves `files` by path, with Range and ETag; each fault of `faults` breaks one response to a GET with content."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, upstream: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.upstream = urlsplit(upstream).netloc
        """Target of requests whose path is not in `files`."""
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, Callable[[bytes], Answer]] = {}
        self.faults: list[str] = []
        """The next faults: a status, "cut" or "reset"; "stall N" sends N bytes, then waits for `resume`."""
        self.always = ""
        """A fault of every request."""
        self.headers_off: set[str] = set()
        self.ranges = True
        self.asked: list[tuple[str, str, str]] = []
        """Method, path and Range of each request."""
        self.stalled = threading.Event()
        self.resume = threading.Event()

    def fault(self) -> str:
        return self.always or (self.faults.pop(0) if self.faults else "")

    def gets(self, path: str = "") -> list[str]:
        """Return the requested ranges, of one path or of all."""
        return [part for method, asked, part in self.asked if method == "GET" and path in (asked, "")]

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that disconnect."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FileServer

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append((self.command, path, self.headers.get("Range", "")))
        fault = self.server.fault() if self.command == "GET" else ""
        if fault.isdecimal():
            self._send((int(fault), {}, b"no luck"))
        elif fault == "reset":
            self._reset()
        elif path in self.server.answers:
            self._send(self.server.answers[path](body))
        elif path in self.server.files:
            self._send(self._file(self.server.files[path]), fault)
        elif self.server.upstream:
            self._send(self._forwarded(body), fault)
        else:
            self._send((404, {}, b""))

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815  http.server requires these names

    def _file(self, content: bytes) -> Answer:
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        headers = {"ETag": etag, "Last-Modified": "Tue, 01 Sep 2026 10:00:00 GMT"}
        headers = {name: value for name, value in headers.items() if name not in self.server.headers_off}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked is None or not self.server.ranges or self.headers.get("If-Range", etag) not in headers.values():
            return 200, headers, content
        start = int(asked[1])
        if start >= len(content):
            return 416, {"Content-Range": f"bytes */{len(content)}"}, b""
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return 206, headers, content[start:]

    def _forwarded(self, body: bytes) -> Answer:
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("expect", "connection")}
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in ("connection", "date")}
        return answer.status, kept, content

    def _send(self, answer: Answer, fault: str = "") -> None:
        status, headers, content = answer
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() != "content-length":
                self.send_header(name, value)
        length = headers.get("Content-Length", str(len(content)))
        if "Content-Length" not in self.server.headers_off:
            self.send_header("Content-Length", length)
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault == "cut":
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        elif fault.startswith("stall"):
            sent = int(fault.partition(" ")[2])
            self.wfile.write(content[:sent])
            self.wfile.flush()
            self.server.stalled.set()
            self.server.resume.wait(60)
            self.wfile.write(content[sent:])
        else:
            self.wfile.write(content)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def _serve(server: FileServer) -> Iterator[FileServer]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.resume.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def web() -> Iterator[FileServer]:
    """A web server without files."""
    yield from _serve(FileServer())


@pytest.fixture
def s3(client: Any, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A fresh bucket, and an environment that names its server."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "something")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # botocore waits for seconds between its attempts
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    client.create_bucket(Bucket=BUCKET)
    yield client
    with urllib.request.urlopen(urllib.request.Request(f"{s3_server}/moto-api/reset", method="POST")):
        pass


@pytest.fixture
def put(s3: Any) -> Callable[..., None]:
    """Put objects into the bucket: `put({"a/b.csv": b"..."})`."""

    def put_all(objects: dict[str, bytes]) -> None:
        for key, content in objects.items():
            s3.put_object(Bucket=BUCKET, Key=key, Body=content)

    return put_all


@pytest.fixture
def line(s3: Any, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A proxy between the S3 server and all clients configured by the environment."""
    for server in _serve(FileServer(s3_server)):
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        yield server


class Hub:
    """The part of the Hub's API that lists and downloads a dataset; see huggingface.co/docs/hub/api."""

    def __init__(self, server: FileServer, repository: str = "team/pets") -> None:
        self.server = server
        self.repository = repository
        self._entries: list[dict[str, Any]] = []
        api = f"/api/datasets/{repository}"
        info = {"id": repository, "sha": COMMIT, "private": False, "tags": [], "downloads": 0, "likes": 0}
        for revision in ("main", "v1.0", COMMIT):
            server.answers[f"{api}/revision/{revision}"] = lambda _: (200, {}, json.dumps(info).encode())
        server.answers[f"{api}/tree/{COMMIT}"] = lambda _: (200, {}, json.dumps(self._entries).encode())
        server.answers[f"{api}/paths-info/{COMMIT}"] = self._paths_info

    def add(self, path: str, content: bytes, large: bool = False) -> None:
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content)}
        entry["oid"] = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        if large:
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
        self._entries.append(entry)
        self.server.files[self.place(path)] = content
        folder = path.rpartition("/")[0]
        below = [entry for entry in self._entries if str(entry["path"]).startswith(f"{folder}/")]
        tree = f"/api/datasets/{self.repository}/tree/{COMMIT}/{folder}"
        self.server.answers[tree] = lambda _: (200, {}, json.dumps(below).encode())

    def place(self, path: str) -> str:
        """Return the path of a file's content on the server."""
        return f"/datasets/{self.repository}/resolve/{COMMIT}/{path}"

    def refuse(self, code: str, status: int, revision: str = "main") -> None:
        """Answer with an error of the Hub."""
        path = f"/api/datasets/{self.repository}/revision/{revision}"
        self.server.answers[path] = lambda _: (status, {"X-Error-Code": code}, b'{"error": "no"}')

    def _paths_info(self, body: bytes) -> Answer:
        asked = re.findall(r"[^&=\"\[\]{},: ]+\.\w+", unquote(body.decode()))
        found = [entry for entry in self._entries if entry["path"] in asked]
        return 200, {"Content-Type": "application/json"}, json.dumps(found).encode()


@pytest.fixture
def hub(web: FileServer, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A hub with an empty dataset `team/pets`."""
    pytest.importorskip("huggingface_hub", reason="the optional extra `huggingface` is not installed")
    monkeypatch.setenv("HF_ENDPOINT", web.url)
    return Hub(web)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 1 << 30)
