"""The RayJob that a driver belongs to, where it has one: requests come as its annotations, and the state goes there."""

import json
import math
import os
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict
from typing import Any

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from stoker.execution.contract import NAMESPACE, PROGRESS, RAYJOB, REQUEST, STATUS
from stoker.tracking.record import RunFolder

LOOK_EVERY_S = 2.0
TIMEOUT_S = 10
LAST_WORD_S = 120.0
"""A run that is over waits so long for an API server that is down."""
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
    looks, silent, deadline = 0, False, math.inf
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
            silent = False
        except Exception as error:  # an API server that is down harms no run: it is asked again
            if not silent:
                reason = str(error).strip().splitlines()[0]
                print(f"the API server does not answer: {type(error).__name__}: {reason}")  # noqa: T201 - the run's log
            silent = True
            if ended and time.monotonic() < deadline:
                time.sleep(LOOK_EVERY_S)
                continue
        if ended:
            if folder.status().state.final:
                rayjob.end()
            return
        deadline = time.monotonic() + LAST_WORD_S


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
        found: Any = self._api.get_namespaced_custom_object(*self._place, _request_timeout=TIMEOUT_S)
        return str(found["metadata"].get("annotations", {}).get(REQUEST, ""))

    def end(self) -> None:
        """Let the run be over: a driver that fails for good is not to be started on a new Ray, only to say so again."""
        with suppress(ApiException, HTTPError):
            body = {"spec": {"backoffLimit": 0}}
            self._api.patch_namespaced_custom_object(*self._place, body, _request_timeout=TIMEOUT_S)

    def say(self, annotation: str, content: dict[str, Any]) -> None:
        """Write an annotation, if it is another one than before."""
        text = json.dumps(content)
        if self._said.get(annotation) != text:
            body = {"metadata": {"annotations": {annotation: text}}}
            self._api.patch_namespaced_custom_object(*self._place, body, _request_timeout=TIMEOUT_S)
            self._said[annotation] = text
