"""Whether a tracking server answers, asked before a run depends on it."""

import ipaddress
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from stoker.errors import Unreachable
from stoker.settings import without_password

TIMEOUT_S = 3.0
SERVER_ERROR = 500


def health_error(base: str, timeout_s: float = TIMEOUT_S) -> str:
    """Ask a server for its health; return why it did not answer, or nothing if it did."""
    try:
        opener(base).open(f"{without_password(base)}/health", timeout=timeout_s).close()
    except urllib.error.HTTPError as error:
        # A refusal is an answer: whoever guards the server may ask for a password here, too.
        return f"HTTP {error.code}" if error.code >= SERVER_ERROR else ""
    except urllib.error.URLError as error:
        return str(getattr(error.reason, "strerror", None) or error.reason)
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__
    return ""


def opener(base: str, *handlers: urllib.request.BaseHandler) -> urllib.request.OpenerDirector:
    """Open addresses of a server: no proxy stands between where it is on this machine."""
    direct = [urllib.request.ProxyHandler({})] if is_loopback(base) else []
    return urllib.request.build_opener(*handlers, *direct)


def is_loopback(base: str) -> bool:
    """Whether a server is on this machine."""
    host = urlsplit(base).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def require_server(uri: str) -> None:
    """Insist on an answer.

    Raises:
        Unreachable: there is none.

    """
    if reason := health_error(uri):
        raise Unreachable(
            f"tracking server {without_password(uri)} does not answer ({reason}); "
            "start it, or unset MLFLOW_TRACKING_URI to use the embedded store"
        )
