"""Downloads from web servers: retried, resumed after interruptions, and with errors that name the cure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stoker.datasets.sources.source import source_error
from stoker.datasets.sources.transfer import CHUNK_BYTES, PATIENCE_S, Interrupted, Remainder, download, retry
from stoker.errors import Cause, ClusterError, StorageError, Unreachable

TIMEOUT_S = (15.0, 30.0)
"""Timeouts of connecting and of each read."""
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_TRANSIENT = {408, 425, 429}
"""Statuses below 500 that are worth a retry."""
_PLAIN = {"Accept-Encoding": "identity"}
"""A compressed response has another length and cannot be resumed."""


@dataclass(frozen=True)
class WebFile:
    """The request of one file."""

    address: str
    shown: str
    """The address for messages, without passwords."""
    validator: str = ""
    """ETag or date for If-Range: if the file has changed since, the server sends it from the start."""
    pinned: bool = False
    """Whether the address or a checksum fixes the content, so that a download can be resumed without a validator."""
    headers: Mapping[str, str] = field(default_factory=dict)


class WebClient:
    """A session with keep-alive; proxies, certificates and .netrc follow the standard environment variables."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        import requests  # here, since jobs on local data should not pay for the import

        self._requests: Any = requests
        self._session: Any = requests.Session()
        self._patience_s = patience_s

    def facts(self, file: WebFile) -> Mapping[str, str]:
        """Return the headers of a file without its content.

        Raises:
            JobError: the server does not have it.
            StorageError: the server denies access.
            Unreachable: the server does not answer, or keeps failing for longer than `patience_s`.

        """

        def ask() -> Mapping[str, str]:
            with self._request("HEAD", file, {}) as head:
                if head.ok:
                    return dict(head.headers)
            with self._request("GET", file, {}) as answer:  # for signed addresses, and servers without HEAD
                _check(answer, file)
                return dict(answer.headers)

        try:
            return retry(ask, self._patience_s)
        except Interrupted as error:
            raise _unreachable(file, error) from error

    def fetch(self, file: WebFile, target: Path) -> None:
        """Download a file, resuming a partial one if the server can.

        Raises:
            JobError: the server does not have it.
            StorageError: the server denies access.
            Unreachable: the server does not answer, or keeps failing for longer than `patience_s`.

        """
        try:
            download(target, lambda start: self._remainder(file, start), self._patience_s)
        except Interrupted as error:
            raise _unreachable(file, error) from error

    def _remainder(self, file: WebFile, start: int) -> Remainder:
        if start and (file.validator or file.pinned):
            headers = {"Range": f"bytes={start}-"} | ({"If-Range": file.validator} if file.validator else {})
            answer = self._request("GET", file, headers)
            if answer.status_code != 416:
                _check(answer, file)
            if answer.status_code == 200:
                return Remainder(0, self._chunks(answer), _length(answer))
            found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            if answer.status_code == 206 and found and int(found[1]) == start and _same(answer, file.validator):
                return Remainder(start, self._chunks(answer), None if found[2] == "*" else int(found[2]))
            answer.close()  # the requested range is empty or another one
        answer = self._request("GET", file, {})
        _check(answer, file)
        return Remainder(0, self._chunks(answer), _length(answer))

    def _request(self, method: str, file: WebFile, headers: Mapping[str, str]) -> Any:
        failures = self._requests.exceptions
        asked = {**_PLAIN, **file.headers, **headers}
        try:
            return self._session.request(
                method, file.address, headers=asked, stream=True, timeout=TIMEOUT_S, allow_redirects=True
            )
        except failures.SSLError as error:
            cure = "name its certificate authority in REQUESTS_CA_BUNDLE"
            raise ClusterError(f"{file.shown}: the server's certificate is not trusted; {cure}") from error
        except (failures.InvalidURL, failures.InvalidSchema, failures.TooManyRedirects) as error:
            raise source_error(f"'{file.shown}' cannot be requested: {error}; correct the address") from error
        except failures.RequestException as error:
            raise Interrupted(_reason(error)) from error

    def _chunks(self, answer: Any) -> Iterator[bytes]:
        with answer:
            try:
                yield from answer.raw.stream(CHUNK_BYTES, decode_content=False)
            except Exception as error:
                if not isinstance(error, (OSError, self._http_error)):
                    raise
                raise Interrupted(_reason(error)) from error

    @property
    def _http_error(self) -> type[Exception]:
        from urllib3.exceptions import HTTPError

        return HTTPError


def _check(answer: Any, file: WebFile) -> None:
    """Raise the error of a response without content."""
    status = answer.status_code
    if status < 400:
        return
    answer.close()
    if status >= 500 or status in _TRANSIENT:
        wait = answer.headers.get("Retry-After", "")
        raise Interrupted(f"the server answers {status} {answer.reason}", float(wait) if wait.isdecimal() else 0.0)
    if status in (401, 403, 407):
        cure = "correct the user, password or token; a signed address may have expired"
        raise StorageError(Cause.STORAGE_AUTH, f"{file.shown}: access is denied ({status} {answer.reason}); {cure}")
    if status in (404, 410):
        raise source_error(f"there is no '{file.shown}' ({status} {answer.reason}); correct the address")
    raise source_error(f"'{file.shown}' is refused ({status} {answer.reason}); correct the address")


def _length(answer: Any) -> int | None:
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _same(answer: Any, validator: str) -> bool:
    """Return whether a partial response is of the requested version; some servers ignore If-Range."""
    etag = answer.headers.get("ETag")
    return not validator.startswith('"') or etag is None or etag == validator


def _unreachable(file: WebFile, error: Interrupted) -> Unreachable:
    return Unreachable(f"{file.shown}: {error}; is the server up, and the address right?")


def _reason(error: Exception) -> str:
    """Return the innermost cause: its wrappers only repeat the address and library objects."""
    reason: Any = error
    while isinstance(inner := getattr(reason, "reason", None) or next(iter(reason.args), None), BaseException):
        reason = inner
    return str(reason).rpartition(">: ")[2] or type(reason).__name__
