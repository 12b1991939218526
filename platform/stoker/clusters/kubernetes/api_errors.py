"""The errors of the Kubernetes client library as errors of Stoker, with a cure where there is one."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from kubernetes import config
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from stoker.errors import AccessDenied, ClusterError, Unreachable
from stoker.settings import ClusterSettings

CURES: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "log in to the cluster again: the token or certificate of your kubeconfig has expired",
    HTTPStatus.FORBIDDEN: "ask its administrator for the role stoker-submitter",
}


class AlreadyExists(ClusterError):
    """An object of this name exists."""


ERRORS: dict[int, type[ClusterError]] = {
    HTTPStatus.CONFLICT: AlreadyExists,
    HTTPStatus.UNAUTHORIZED: AccessDenied,
    HTTPStatus.FORBIDDEN: AccessDenied,
    HTTPStatus.TOO_MANY_REQUESTS: Unreachable,  # a busy server
}
"""Errors by status; others are Unreachable from 500 on, and ClusterError below."""


@contextmanager
def translated_errors(cluster: ClusterSettings) -> Iterator[None]:
    """Raise errors of the client library as ClusterError."""
    name = f"cluster '{cluster.name}'"
    try:
        yield
    except config.ConfigException as error:
        raise ClusterError(f"{name}: {error}; name a context of your kubeconfig (kube_context)") from error
    except ApiException as error:
        message = f"{name} refuses: {_reason(error)}"
        status = error.status or 0
        default = Unreachable if status >= HTTPStatus.INTERNAL_SERVER_ERROR else ClusterError
        raise ERRORS.get(status, default)(message) from error
    except (HTTPError, OSError) as error:
        reason = str(getattr(error, "reason", error)).rpartition(": ")[2]
        raise Unreachable(f"{name} does not answer ({reason})") from error


@contextmanager
def ignore_not_found(*more: int) -> Iterator[None]:
    """Leave the block if the object does not exist, or with one of these statuses."""
    try:
        yield
    except ApiException as error:
        if error.status not in (HTTPStatus.NOT_FOUND, *more):
            raise


def _reason(error: ApiException) -> str:
    try:
        message = str(json.loads(error.body or "")["message"])
    except (TypeError, ValueError, KeyError):
        message = str(error.reason)
    status = error.status or 0
    if not status and "403" in message:  # of a websocket, whose refusal comes as text
        status, message = HTTPStatus.FORBIDDEN, "you may not forward a port of a pod (pods/portforward)"
    cure = CURES.get(status, "")
    return f"{message}; {cure}" if cure else message
