"""HTTP requests to one server, with proxies, redirects, timeouts and errors handled in one place.

Used for MLflow's REST API, Ray's dashboard and health checks. S3 and Kubernetes have client libraries of their own.
"""

import ipaddress
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

TIMEOUT_S = 10.0
CHUNK_BYTES = 1 << 20
ERROR_BYTES = 1 << 20
"""At most this much of the body of an error response is read."""


class ErrorStatus(Exception):
    """The server answered with an error status, or with a redirect that is not followed."""

    def __init__(self, status: int, reason: str, body: str) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.reason = reason
        self.body = body


class NoResponse(Exception):
    """The server did not answer, or the connection closed in the middle of its answer; the text is the reason."""


class HttpClient:
    """Sends requests to one server; callers translate its two errors.

    Args:
        base: address of the server, without a user and a password.
        headers: sent with every request.
        redirects: whether redirects are followed; the headers go along.
        timeout_s: of each request, unless it names another one.

    """

    def __init__(
        self, base: str, headers: Mapping[str, str] | None = None, redirects: bool = True, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._base = base.rstrip("/")
        self._headers = dict(headers or {})
        self._timeout_s = timeout_s
        handlers: list[urllib.request.BaseHandler] = [] if redirects else [_NoRedirect()]
        if is_loopback(base):
            handlers.append(urllib.request.ProxyHandler({}))  # no proxy reaches this machine's own ports
        self._opener = urllib.request.build_opener(*handlers)

    def request(
        self, method: str, path: str, body: bytes | None = None, content_type: str = "", timeout_s: float | None = None
    ) -> bytes:
        """Send a request and return the body of the response.

        Raises:
            ErrorStatus: the status of the response is an error.
            NoResponse: there was none, or only a part of it.

        """
        with self._open(method, path, body, content_type, timeout_s) as response, _translated():
            return response.read()

    def download(self, path: str, target: Path) -> None:
        """Write the body of a response to a file, whole or not at all.

        Raises:
            ErrorStatus: the status of the response is an error.
            NoResponse: there was none, or only a part of it.

        """
        with self._open("GET", path) as response:
            target.parent.mkdir(parents=True, exist_ok=True)
            draft = target.with_name(f".{target.name}.new")
            with draft.open("wb") as file:
                while chunk := _read(response):
                    file.write(chunk)
            expected = response.headers.get("Content-Length")
        if expected is not None and draft.stat().st_size != int(expected):  # a short read raises nothing by itself
            raise NoResponse(f"the connection closed in the middle of {target.name}")
        draft.replace(target)

    def _open(
        self, method: str, path: str, body: bytes | None = None, content_type: str = "", timeout_s: float | None = None
    ) -> HTTPResponse:
        headers = {**self._headers, **({"Content-Type": content_type} if content_type else {})}
        with _translated():
            request = urllib.request.Request(f"{self._base}{path}", body, headers, method=method)  # noqa: S310 - http(s)
            response: HTTPResponse = self._opener.open(request, timeout=timeout_s or self._timeout_s)
            return response


def is_loopback(base: str) -> bool:
    """Return whether an address is one of this machine."""
    host = urlsplit(base).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except urllib.error.HTTPError as error:
        with error:
            raise ErrorStatus(error.code, str(error.reason), _text(error)) from error
    except urllib.error.URLError as error:
        raise NoResponse(str(getattr(error.reason, "strerror", None) or error.reason)) from error
    except (OSError, HTTPException, ValueError) as error:
        raise NoResponse(str(error) or type(error).__name__) from error


def _read(response: HTTPResponse) -> bytes:
    with _translated():
        return response.read(CHUNK_BYTES)


def _text(error: urllib.error.HTTPError) -> str:
    try:
        return error.read(ERROR_BYTES).decode("utf-8", errors="replace")
    except (OSError, HTTPException):
        return ""
