"""The health check of a tracking server, made before a run depends on it."""

from stoker.errors import Unreachable
from stoker.http_client import ErrorStatus, HttpClient, NoResponse
from stoker.settings import without_password

TIMEOUT_S = 3.0
SERVER_ERROR = 500


def health_error(base: str, timeout_s: float = TIMEOUT_S) -> str:
    """Check a server's health; return why it did not answer, or an empty text."""
    try:
        HttpClient(without_password(base), timeout_s=timeout_s).request("GET", "/health")
    except ErrorStatus as error:
        # A refusal is an answer: whoever guards the server may ask for a password here, too.
        return str(error) if error.status >= SERVER_ERROR else ""
    except NoResponse as error:
        return str(error)
    return ""


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
