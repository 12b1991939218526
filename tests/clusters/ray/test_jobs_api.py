"""What goes to a Ray's dashboard, and what is made of its answers; a small server answers in its place."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from stoker.clusters.ray.jobs_api import JobsApi
from stoker.errors import ClusterError, Unreachable
from stoker.settings import RayClusterSettings

TOKEN = {"RAY_AUTH_TOKEN": "secret"}


class Dashboard(ThreadingHTTPServer):
    """Answers all alike, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.answer: tuple[int, dict[str, str], bytes] = (200, {}, b"{}")
        self.asked: list[tuple[str, str | None]] = []


class Handler(BaseHTTPRequestHandler):
    server: Dashboard

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        code, headers, content = self.server.answer
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    with Dashboard() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def api(address: str, environment=TOKEN, insecure="no") -> JobsApi:
    return JobsApi(RayClusterSettings("lab", address, "s3://runs", insecure=insecure), environment)


def test_this_machine_gets_the_token_and_no_proxy_does(dashboard, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert api(dashboard.address).get("/api/version") == {}
    assert dashboard.asked == [("/api/version", "Bearer secret")]


def test_the_token_is_sent_to_another_machine_over_plain_http_only_if_allowed(dashboard, monkeypatch):
    monkeypatch.setenv("http_proxy", dashboard.address)  # requests to an unknown host end up here
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert api("http://head.invalid:8265").get("/x") == {}, "a cluster without a token needs none"
    dashboard.answer = (401, {}, b"Unauthorized")
    with pytest.raises(ClusterError, match=r"not sent over plain http .*https://.*insecure: \"yes\""):
        api("http://head.invalid:8265").get("/x")
    assert {token for _, token in dashboard.asked} == {None}
    dashboard.answer = (200, {}, b"{}")
    api("http://head.invalid:8265", insecure="yes").get("/x")
    assert dashboard.asked[-1] == ("http://head.invalid:8265/x", "Bearer secret")


def test_the_token_goes_to_no_other_place_that_the_cluster_names(dashboard):
    dashboard.answer = (302, {"Location": f"{dashboard.address}/elsewhere"}, b"")
    with pytest.raises(ClusterError, match="HTTP 302"):
        api(dashboard.address).get("/x")
    assert [path for path, _ in dashboard.asked] == ["/x"]


def test_the_token_comes_from_where_ray_looks_for_it(dashboard, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("of the home\n")
    (tmp_path / "named").write_text("of the file\n")
    for environment in ({}, {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "named")}, TOKEN):
        api(dashboard.address, environment).get("/x")
    assert [token for _, token in dashboard.asked] == ["Bearer of the home", "Bearer of the file", "Bearer secret"]
    for wrong in ({"RAY_AUTH_TOKEN_PATH": str(tmp_path / "none")}, {"RAY_AUTH_TOKEN": "a\nb"}):
        with pytest.raises(ClusterError, match="Ray's token"):
            api(dashboard.address, wrong).get("/x")


@pytest.mark.parametrize(
    ("code", "content", "kind", "message"),
    [
        (
            500,
            b"Traceback\n  File\nValueError: the id is taken\n.\n",
            ClusterError,
            "refuses: ValueError: the id is taken",
        ),
        (503, b"", Unreachable, "HTTP 503"),
        (413, b"", ClusterError, "no package this large"),
        (200, b"<html>", Unreachable, "is not a Ray dashboard"),
        (404, b"default backend - 404", Unreachable, "is not a Ray dashboard"),
    ],
)
def test_error_responses_raise_the_matching_error(code, content, kind, message, dashboard):
    dashboard.answer = (code, {}, content)
    with pytest.raises(kind, match=message):
        api(dashboard.address).get("/x")


def test_a_job_unknown_to_ray_is_none(dashboard):
    dashboard.answer = (404, {}, b"Job x does not exist")
    assert api(dashboard.address).get("/x") is None
    assert not api(dashboard.address).has("/x")
