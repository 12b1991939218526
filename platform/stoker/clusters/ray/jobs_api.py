"""The HTTP API of a Ray cluster's dashboard, called without Ray: jobs, packages and nodes.

Whoever may use it may run anything on the cluster. The token is looked for where Ray itself does: RAY_AUTH_TOKEN, the
file that RAY_AUTH_TOKEN_PATH names, ~/.ray/auth_token.
"""

import json
import os
from collections.abc import Mapping
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any

from stoker.errors import ClusterError, Unreachable
from stoker.http_client import ErrorStatus, HttpClient, NoResponse, is_loopback
from stoker.settings import RayClusterSettings

UPLOAD_TIMEOUT_S = 120.0
TOKEN_FILE = "~/.ray/auth_token"  # noqa: S105 - the path where Ray keeps it
HEAD_DOWN = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)
"""Answers of a proxy whose head does not answer."""
UNKNOWN = "does not exist"
"""Part of Ray's 404 for a job or package that it does not know; any other 404 comes from another server."""
SHOWN_CHARACTERS = 500


class JobsApi:
    """Client of one cluster's dashboard.

    Args:
        cluster: its settings.
        environment: may hold the token.

    """

    def __init__(self, cluster: RayClusterSettings, environment: Mapping[str, str] = os.environ) -> None:
        self._cluster = cluster
        self._base = cluster.ray_address.rstrip("/")
        self._environment = environment

    def get(self, path: str) -> Any:
        """Return the JSON at a path; None where Ray does not know the job or package.

        Raises:
            ClusterError: the cluster refuses; the message quotes it.
            Unreachable: it does not answer.

        """
        return self._parse(self._request("GET", path))

    def post(self, path: str, content: Mapping[str, Any] | None = None) -> Any:
        """Send JSON and return the answer; None where Ray does not know the job. Raises as `get` does."""
        return self._parse(self._request("POST", path, json.dumps(content or {}).encode(), "application/json"))

    def has(self, path: str) -> bool:
        """Return whether Ray knows the job or package. Raises as `get` does."""
        return self._request("GET", path) is not None

    def put(self, path: str, content: bytes) -> None:
        """Upload a package. Raises as `get` does."""
        self._request("PUT", path, content, "application/octet-stream", UPLOAD_TIMEOUT_S)

    def delete(self, path: str) -> None:
        """Delete a job, if Ray knows it. Raises as `get` does."""
        self._request("DELETE", path)

    def _request(
        self, method: str, path: str, content: bytes | None = None, kind: str = "", timeout_s: float | None = None
    ) -> bytes | None:
        try:
            return self._client.request(method, path, content, kind, timeout_s)
        except ErrorStatus as error:
            last_line = _last_line(error.body)
            if error.status == HTTPStatus.NOT_FOUND and UNKNOWN in last_line:
                return None
            raise self._refusal(error, last_line) from error
        except NoResponse as error:
            raise Unreachable(f"{self._name} does not answer at {self._base} ({error})") from error

    @property
    def _name(self) -> str:
        return f"cluster '{self._cluster.name}'"

    @cached_property
    def _client(self) -> HttpClient:
        headers = {"Authorization": f"Bearer {self._token}"} if self._sends_token and self._token else {}
        return HttpClient(self._base, headers, redirects=False)  # a redirect would take the token to another server

    def _refusal(self, error: ErrorStatus, last_line: str) -> ClusterError:
        """Translate an error status to a message with a cure."""
        match error.status:
            case HTTPStatus.UNAUTHORIZED:
                return ClusterError(f"{self._name} asks for Ray's token; {self._token_cure()}")
            case HTTPStatus.FORBIDDEN:
                where = f"RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or {TOKEN_FILE}"
                return ClusterError(f"{self._name} rejects the token from {where}; ask its administrator for another")
            case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                return ClusterError(f"{self._name} accepts no package this large; put the code into its image")
            case HTTPStatus.NOT_FOUND:
                return self._not_a_dashboard()
            case status if status in HEAD_DOWN:
                return Unreachable(f"{self._name} does not answer at {self._base} ({error})")
        return ClusterError(f"{self._name} refuses: {last_line or error.reason} ({error})")

    def _token_cure(self) -> str:
        if self._sends_token:
            return f"set RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or write it to {TOKEN_FILE}"
        return (
            f"it is not sent over plain http ({self._base}), where others may read it: give ray_address https:// "
            'or a forwarded port of this machine, or set insecure: "yes" for the cluster'
        )

    def _parse(self, answer: bytes | None) -> Any:
        try:
            return None if answer is None else json.loads(answer)
        except ValueError as error:
            raise self._not_a_dashboard() from error

    def _not_a_dashboard(self) -> Unreachable:
        """Return the error for an answer from something else, such as a proxy."""
        return Unreachable(f"{self._name} does not answer: {self._base} (ray_address) is not a Ray dashboard")

    @property
    def _sends_token(self) -> bool:
        safe = self._base.startswith("https://") or is_loopback(self._base)
        return safe or self._cluster.insecure == "yes"

    @cached_property
    def _token(self) -> str:
        token = self._environment.get("RAY_AUTH_TOKEN", "").strip()
        named = self._environment.get("RAY_AUTH_TOKEN_PATH", "")
        path = Path(named or TOKEN_FILE).expanduser()
        if not token and (named or path.is_file()):
            try:
                token = path.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ClusterError(f"cannot read Ray's token from {path}: {error}") from error
        if not (token.isascii() and token.isprintable()):
            raise ClusterError("Ray's token has characters that no token has; set RAY_AUTH_TOKEN again")
        return token


def _last_line(body: str) -> str:
    """Return the last line of an error response: Ray sends whole tracebacks."""
    lines = [line.strip() for line in body.splitlines() if line.strip(" .")]
    return lines[-1][:SHOWN_CHARACTERS] if lines else ""
