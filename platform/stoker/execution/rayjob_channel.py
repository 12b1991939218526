"""The control channel of a driver in a RayJob: requests and status are annotations of the RayJob."""

import json
import os
import time
from contextlib import AbstractContextManager, suppress
from typing import Any

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from stoker.execution.contract import NAMESPACE, RAYJOB, REQUEST, RETRIED_AT, STATUS
from stoker.execution.control_channel import serve
from stoker.jobfile.loading import load_job
from stoker.tracking.run_folder import RunFolder

TIMEOUT_S = 10
PROGRESS_EVERY = 3
"""Progress is published with every third status, because one API server serves many runs."""


def serve_rayjob(folder: RunFolder) -> AbstractContextManager[None] | None:
    """Serve the control channel of this driver's RayJob until the block ends; None if it has no RayJob."""
    name, namespace = os.environ.get(RAYJOB), os.environ.get(NAMESPACE)
    if not name or not namespace:
        return None
    channel = _RayJobChannel(name, namespace)
    retries = load_job(folder.job).job.resources.retries
    channel.renew_retries(retries, folder.status().checkpoint_step)
    return serve(channel, folder, PROGRESS_EVERY)


class _RayJobChannel:
    """The annotations of one RayJob."""

    def __init__(self, name: str, namespace: str) -> None:
        from kubernetes import client, config

        config.load_incluster_config()  # type: ignore[no-untyped-call] # the library types only its API
        self._api = client.CustomObjectsApi()
        self._place = ("ray.io", "v1", namespace, "rayjobs", name)
        self._published: dict[str, str] = {}
        self._driver = {"pod": os.environ.get("HOSTNAME", ""), "since": time.time()}
        """By which clients see that the driver of a status is lost."""

    def renew_retries(self, retries: int, checkpoint_step: int) -> None:
        """Let KubeRay start the driver again so many more times, if the run has made progress since the last start.

        Args:
            retries: attempts in a row that may make no progress.
            checkpoint_step: step of the newest checkpoint.

        """
        with suppress(ApiException, HTTPError):
            found: Any = self._api.get_namespaced_custom_object(*self._place, _request_timeout=TIMEOUT_S)
            before = found["metadata"].get("annotations", {}).get(RETRIED_AT)
            if before is not None and checkpoint_step <= int(before):
                return
            failed = found.get("status", {}).get("failed", 0)
            body = {
                "metadata": {"annotations": {RETRIED_AT: str(checkpoint_step)}},
                "spec": {"backoffLimit": failed + retries},
            }
            self._api.patch_namespaced_custom_object(*self._place, body, _request_timeout=TIMEOUT_S)

    def request(self) -> str:
        """Return the client's request; empty for none."""
        found: Any = self._api.get_namespaced_custom_object(*self._place, _request_timeout=TIMEOUT_S)
        return str(found["metadata"].get("annotations", {}).get(REQUEST, ""))

    def close(self) -> None:
        """Set the RayJob's backoff limit to 0, so that a finished driver is not started again on a new Ray cluster."""
        with suppress(ApiException, HTTPError):
            body = {"spec": {"backoffLimit": 0}}
            self._api.patch_namespaced_custom_object(*self._place, body, _request_timeout=TIMEOUT_S)

    def publish(self, name: str, content: dict[str, Any]) -> None:
        """Write an annotation, unless its content is unchanged."""
        text = json.dumps(content | self._driver if name == STATUS else content)
        if self._published.get(name) != text:
            body = {"metadata": {"annotations": {name: text}}}
            self._api.patch_namespaced_custom_object(*self._place, body, _request_timeout=TIMEOUT_S)
            self._published[name] = text
