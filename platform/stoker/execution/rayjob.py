"""The RayJob that a driver belongs to, where it has one: requests come as its annotations, and the state goes there."""

import json
import os
import threading
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict
from typing import Any

from kubernetes.client.exceptions import ApiException

from stoker.execution.contract import NAMESPACE, PROGRESS, RAYJOB, REQUEST, STATUS
from stoker.tracking.record import RunFolder

LOOK_EVERY_S = 2.0
PROGRESS_EVERY = 3
"""Of so many looks one also tells how far training is."""


def own_rayjob(folder: RunFolder) -> AbstractContextManager[None] | None:
    """Follow the RayJob of this driver for the length of a block; None where there is none."""
    name, namespace = os.environ.get(RAYJOB), os.environ.get(NAMESPACE)
    return _followed(_RayJob(name, namespace), folder) if name and namespace else None


@contextmanager
def _followed(rayjob: "_RayJob", folder: RunFolder) -> Iterator[None]:
    over = threading.Event()
    thread = threading.Thread(target=_follow, args=(rayjob, folder, over), name="rayjob", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _follow(rayjob: "_RayJob", folder: RunFolder, over: threading.Event) -> None:
    """Hand requests to the driver as files of the run's folder, and say what has changed."""
    looks = 0
    while True:
        ended = over.wait(LOOK_EVERY_S)
        looks += 1
        try:
            rayjob.say(STATUS, asdict(folder.status()))
            if ended or looks % PROGRESS_EVERY == 1:
                rayjob.say(PROGRESS, asdict(folder.progress()))
            match rayjob.request():
                case "cancel":
                    folder.cancel_request.touch()
                case "pause":
                    folder.pause_request.touch()
        except Exception:  # an API server that is down harms no run: it is asked again
            traceback.print_exc()
        if ended:
            if folder.status().state.final:
                rayjob.end()
            return


class _RayJob:
    """One RayJob on the API server."""

    def __init__(self, name: str, namespace: str) -> None:
        from kubernetes import client, config

        config.load_incluster_config()  # type: ignore[no-untyped-call] # the library has types for its API alone
        self._api = client.CustomObjectsApi()
        self._place = ("ray.io", "v1", namespace, "rayjobs", name)
        self._said: dict[str, str] = {}

    def request(self) -> str:
        """Tell what somebody asks for; empty for nothing."""
        found: Any = self._api.get_namespaced_custom_object(*self._place)
        return str(found["metadata"].get("annotations", {}).get(REQUEST, ""))

    def end(self) -> None:
        """Let the run be over: a driver that fails for good is not to be started on a new Ray, only to say so again."""
        with suppress(ApiException):
            self._api.patch_namespaced_custom_object(*self._place, {"spec": {"backoffLimit": 0}})

    def say(self, annotation: str, content: dict[str, Any]) -> None:
        """Write an annotation, if it is another one than before."""
        text = json.dumps(content)
        if self._said.get(annotation) != text:
            body = {"metadata": {"annotations": {annotation: text}}}
            self._api.patch_namespaced_custom_object(*self._place, body)
            self._said[annotation] = text
