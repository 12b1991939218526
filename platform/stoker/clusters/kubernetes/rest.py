"""Requests to a Kubernetes API server as plain JSON: the library's typed clients take two seconds to load."""

import json
import os
import time
from http import HTTPStatus
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config import incluster_config, kube_config

from stoker.clusters.kubernetes.api_errors import ignore_not_found, translated_errors
from stoker.settings import ClusterSettings

TIMEOUT_S = 10.0
MERGE_PATCH = "application/merge-patch+json"
WEBHOOK_S, WEBHOOK_RETRY_S = 30.0, 1.0
"""How long, and how often, to try again where the server cannot ask one of its webhooks, such as one that restarts."""


def _is_in_pod() -> bool:
    """Return whether this process has a service account and no kubeconfig."""
    files = [Path(each).expanduser() for each in kube_config.KUBE_CONFIG_DEFAULT_LOCATION.split(os.pathsep)]
    return Path(incluster_config.SERVICE_TOKEN_FILENAME).exists() and not any(file.exists() for file in files)


class KubeRest:
    """The API server of a cluster.

    Raises:
        ClusterError: the kubeconfig has no such cluster; all methods: the server refuses, or does not answer.

    """

    def __init__(self, cluster: ClusterSettings) -> None:
        self._cluster = cluster
        with translated_errors(cluster):
            self._client = self.new_client()

    def new_client(self) -> Any:
        """Return another client of the library, for a thread of its own."""
        configuration = client.Configuration()
        if not self._cluster.kube_context and _is_in_pod():
            config.load_incluster_config(configuration)  # type: ignore[no-untyped-call] # the library types only its API
        else:
            config.load_kube_config(  # type: ignore[no-untyped-call]
                context=self._cluster.kube_context or None, client_configuration=configuration
            )
        configuration.retries = 0  # an outage is reported at once; polling tries again
        return client.ApiClient(configuration)

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Return an object, or a list of objects."""
        with translated_errors(self._cluster):
            return self.send("GET", path, query=query)

    def find(self, path: str, *absent: int) -> dict[str, Any] | None:
        """Return an object; None if it does not exist, or if the server answers with one of these statuses."""
        with translated_errors(self._cluster), ignore_not_found(*absent):
            return self.send("GET", path)
        return None

    def post(self, path: str, body: Any, **query: str) -> dict[str, Any]:
        """Create an object."""
        with translated_errors(self._cluster):
            return self.send("POST", path, body, query)

    def patch(self, path: str, body: Any) -> dict[str, Any] | None:
        """Merge fields into an object; return None if it does not exist."""
        with translated_errors(self._cluster), ignore_not_found():
            return self.send("PATCH", path, body)
        return None

    def delete(self, path: str) -> None:
        """Delete an object, if it exists."""
        with translated_errors(self._cluster), ignore_not_found():
            self.send("DELETE", path)

    def text(self, path: str, timeout_s: float, **query: str) -> str:
        """Return a text, such as a log; empty if it does not exist yet."""
        with translated_errors(self._cluster), ignore_not_found(HTTPStatus.BAD_REQUEST):
            return str(self._answer("GET", path, None, query, timeout_s).data.decode("utf-8", "replace"))
        return ""

    def send(self, method: str, path: str, body: Any = None, query: dict[str, str] | None = None) -> dict[str, Any]:
        """Send a request and return the answer's JSON.

        Raises:
            ApiException: the server refuses.

        """
        deadline = time.monotonic() + WEBHOOK_S
        while True:
            try:
                found: dict[str, Any] = json.loads(self._answer(method, path, body, query or {}, TIMEOUT_S).data)
            except ApiException as error:
                if not _is_missed_webhook(error) or time.monotonic() > deadline:
                    raise
                time.sleep(WEBHOOK_RETRY_S)
            else:
                return found

    def _answer(self, method: str, path: str, body: Any, query: dict[str, str], timeout_s: float) -> Any:
        request = self._client.param_serialize(
            method=method,
            resource_path=path,
            query_params=list(query.items()),
            header_params={
                "Accept": "application/json, */*",
                "Content-Type": MERGE_PATCH if method == "PATCH" else "application/json",
            },
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = self._client.call_api(*request, _request_timeout=timeout_s)
        answer.read()
        if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            raise ApiException.from_response(http_resp=answer, body=None, data=None)
        return answer


def _is_missed_webhook(error: ApiException) -> bool:
    """Return whether a request was not carried out since a webhook that must allow it did not answer."""
    return error.status == HTTPStatus.INTERNAL_SERVER_ERROR and "failed calling webhook" in str(error.body)
