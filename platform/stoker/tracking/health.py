"""The health check of a tracking server, made before a run depends on it."""

import ipaddress
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from stoker.errors import Unreachable
from stoker.settings import without_password

TIMEOUT_S = 3.0
SERVER_ERROR = 500


def health_error(base: str, timeout_s: float = TIMEOUT_S) -> str:
    """Check a server's health; return why it did not answer, or an empty text."""
    try:
        opener(base).open(f"{without_password(base)}/health", timeout=timeout_s).close()
    except urllib.error.HTTPError as error:
        # A refusal is an answer: a proxy in front of the server may require a password here, too.
        return f"HTTP {error.code}" if error.code >= SERVER_ERROR else ""
    except urllib.error.URLError as error:
        return str(getattr(error.reason, "strerror", None) or error.reason)
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__
    return ""


def opener(base: str, *handlers: urllib.request.BaseHandler) -> urllib.request.OpenerDirector:
    """Return an opener for a server's addresses, which uses no proxy for a server on this machine."""
    direct = [urllib.request.ProxyHandler({})] if is_loopback(base) else []
    return urllib.request.build_opener(*handlers, *direct)


def is_loopback(base: str) -> bool:
    """Return whether a server is on this machine."""
    host = urlsplit(base).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def require_server(uri: str) -> None:
    """Check that a server answers.

    Raises:
        Unreachable: it does not.

    """
    if reason := health_error(uri):
        raise Unreachable(
            f"tracking server {without_password(uri)} does not answer ({reason}); "
            "start it, or unset MLFLOW_TRACKING_URI to use the embedded store"
        )
