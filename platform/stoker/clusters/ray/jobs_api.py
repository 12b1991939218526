"""The HTTP API of a Ray cluster's dashboard, without Ray: Jobs, packages and nodes.

Whoever may use it may run anything on the cluster. Where Ray asks for its token, it is looked for where Ray itself
does: RAY_AUTH_TOKEN, the file that RAY_AUTH_TOKEN_PATH names, ~/.ray/auth_token.
"""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from functools import cached_property
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

from stoker.errors import ClusterError, Unreachable
from stoker.settings import RayClusterSettings
from stoker.tracking.health import is_loopback, opener

TIMEOUT_S = 10
UPLOAD_TIMEOUT_S = 120
TOKEN_FILE = "~/.ray/auth_token"  # noqa: S105 - where Ray keeps it
AWAY = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)
"""What a proxy says for a head that does not answer it."""
UNKNOWN = "does not exist"
"""Ray's words for a job or package that it does not know; any other 404 is somebody else's."""
SHOWN_CHARACTERS = 500


class RayApi:
    """Asks one cluster.

    Args:
        cluster: where it is.
        environment: where the token may be.

    """

    def __init__(self, cluster: RayClusterSettings, environment: Mapping[str, str] = os.environ) -> None:
        self._cluster = cluster
        self._base = cluster.ray_address.rstrip("/")
        self._environment = environment
        self._opener = opener(self._base, _NoRedirect())

    def get(self, path: str) -> Any:
        """Ask for something; None where Ray does not know it.

        Raises:
            ClusterError: the cluster refuses, with its words.
            Unreachable: it does not answer.

        """
        return self._json(self._ask("GET", path))

    def post(self, path: str, content: Mapping[str, Any] | None = None) -> Any:
        """Send something; None where Ray does not know what it is about. Raises as `get` does."""
        return self._json(self._ask("POST", path, json.dumps(content or {}).encode(), "application/json"))

    def has(self, path: str) -> bool:
        """Tell whether Ray knows something. Raises as `get` does."""
        return self._ask("GET", path) is not None

    def put(self, path: str, content: bytes) -> None:
        """Leave something with Ray. Raises as `get` does."""
        self._ask("PUT", path, content, "application/octet-stream", UPLOAD_TIMEOUT_S)

    def _ask(
        self, method: str, path: str, content: bytes | None = None, kind: str = "", timeout_s: float = TIMEOUT_S
    ) -> bytes | None:
        name = f"cluster '{self._cluster.name}'"
        headers = {"Content-Type": kind} if kind else {}
        if self._sends_token and self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(f"{self._base}{path}", content, headers, method=method)  # noqa: S310 - http(s)
        try:
            with self._opener.open(request, timeout=timeout_s) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                said = _last_line(error)
            if error.code == HTTPStatus.NOT_FOUND and UNKNOWN in said:
                return None
            raise self._refusal(error, said) from error
        except urllib.error.URLError as error:
            reason = str(getattr(error.reason, "strerror", None) or error.reason)
            raise Unreachable(f"{name} does not answer at {self._base} ({reason})") from error
        except (OSError, HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise Unreachable(f"{name} does not answer at {self._base} ({reason})") from error

    def _refusal(self, error: urllib.error.HTTPError, said: str) -> ClusterError:
        """Say in our words what the cluster refuses."""
        name = f"cluster '{self._cluster.name}'"
        match error.code:
            case HTTPStatus.UNAUTHORIZED:
                return ClusterError(f"{name} asks for Ray's token; {self._token_cure()}")
            case HTTPStatus.FORBIDDEN:
                where = f"RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or {TOKEN_FILE}"
                return ClusterError(f"{name} does not take the token in {where}; ask its administrator for it")
            case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                return ClusterError(f"{name} takes no package that large; put the code into its image")
            case HTTPStatus.NOT_FOUND:
                return self._foreign()
            case code if code in AWAY:
                return Unreachable(f"{name} does not answer at {self._base} (HTTP {code})")
        return ClusterError(f"{name} refuses: {said or error.reason} (HTTP {error.code})")

    def _token_cure(self) -> str:
        if self._sends_token:
            return f"set RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or write it to {TOKEN_FILE}"
        return (
            f"over plain http ({self._base}) it is not sent, where others may read it: give ray_address https://, "
            'or a port of this machine that leads there, or set insecure: "yes" for the cluster'
        )

    def _json(self, answer: bytes | None) -> Any:
        try:
            return None if answer is None else json.loads(answer)
        except ValueError as error:
            raise self._foreign() from error

    def _foreign(self) -> Unreachable:
        """Say that something else answers, such as a proxy whose head is away."""
        name = f"cluster '{self._cluster.name}'"
        return Unreachable(f"{name} does not answer: what does at {self._base} (ray_address) is no dashboard of a Ray")

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
                raise ClusterError(f"Ray's token cannot be read from {path}: {error}") from error
        if not (token.isascii() and token.isprintable()):
            raise ClusterError("Ray's token has characters that no token has; set RAY_AUTH_TOKEN anew")
        return token


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nobody to another place: the token would go along."""

    def redirect_request(self, *_: object) -> None:
        return None


def _last_line(answer: IO[bytes]) -> str:
    """Read what a refusal comes down to: Ray sends whole tracebacks."""
    try:
        text = answer.read(1 << 20).decode("utf-8", errors="replace")
    except (OSError, HTTPException):
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip(" .")]
    return lines[-1][:SHOWN_CHARACTERS] if lines else ""
