"""The RayJob that a driver belongs to, where it has one: requests come as its annotations, and the state goes there."""

import json
import os
from contextlib import AbstractContextManager, suppress
from typing import Any

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from stoker.execution.contract import NAMESPACE, RAYJOB, REQUEST
from stoker.execution.control_channel import serve
from stoker.tracking.run_folder import RunFolder

TIMEOUT_S = 10
PROGRESS_EVERY = 3
"""Of so many messages about the state one brings the progress, too: an API server serves many."""


def serve_rayjob(folder: RunFolder) -> AbstractContextManager[None] | None:
    """Follow the RayJob of this driver for the length of a block; None where there is none."""
    name, namespace = os.environ.get(RAYJOB), os.environ.get(NAMESPACE)
    return serve(_RayJobChannel(name, namespace), folder, PROGRESS_EVERY) if name and namespace else None


class _RayJobChannel:
    """One RayJob on the API server."""

    def __init__(self, name: str, namespace: str) -> None:
        from kubernetes import client, config

        config.load_incluster_config()  # type: ignore[no-untyped-call] # the library has types for its API alone
        self._api = client.CustomObjectsApi()
        self._place = ("ray.io", "v1", namespace, "rayjobs", name)
        self._published: dict[str, str] = {}

    def request(self) -> str:
        """Tell what somebody asks for; empty for nothing."""
        found: Any = self._api.get_namespaced_custom_object(*self._place, _request_timeout=TIMEOUT_S)
        return str(found["metadata"].get("annotations", {}).get(REQUEST, ""))

    def close(self) -> None:
        """Let the run be over: a driver that fails for good is not to be started on a new Ray, only to say so again."""
        with suppress(ApiException, HTTPError):
            body = {"spec": {"backoffLimit": 0}}
            self._api.patch_namespaced_custom_object(*self._place, body, _request_timeout=TIMEOUT_S)

    def publish(self, name: str, content: dict[str, Any]) -> None:
        """Write an annotation, if it is another one than before."""
        text = json.dumps(content)
        if self._published.get(name) != text:
            body = {"metadata": {"annotations": {name: text}}}
            self._api.patch_namespaced_custom_object(*self._place, body, _request_timeout=TIMEOUT_S)
            self._published[name] = text
