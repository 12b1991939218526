"""Appending what the pods of a run have printed to the log in its folder."""

import re
import time
from datetime import UTC, datetime

from stoker.clusters.kubernetes.api import KubeApi
from stoker.clusters.kubernetes.metadata import Manifest
from stoker.tracking.run_folder import RunFolder

SUBMITTER_LINE = re.compile(r"\S+ \S+\t(INFO|SUCC) (cli|sdk|job_manager)\.py:\d+ -- |Running entrypoint for job ")
"""Lines of Ray's job submission client, not of the run."""
TRACEBACK = "Traceback (most recent call last):"
CLIENT_FRAME = re.compile(r'  File "\S*/bin/ray", line ')
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
"""Start of each line of a pod's log; a progress bar redraws itself within one line."""
CLOCK_SKEW_S = 300
"""The clocks here and in the cluster differ by less."""


class SubmitterTracebacks:
    """Leaves out tracebacks of Ray's submission client: it loses its connection with the head, and is started again."""

    def __init__(self) -> None:
        self._held: list[str] = []
        """Lines of a traceback that has not ended."""

    def without(self, line: str) -> list[str]:
        """Return the lines to keep that the next one settles."""
        if not self._held:
            if line != TRACEBACK:
                return [line]
            self._held = [line]
            return []
        self._held.append(line)
        if line[:1].isspace():
            return []
        whole, self._held = self._held, []
        return [] if any(CLIENT_FRAME.match(each) for each in whole) else whole

    def rest(self) -> list[str]:
        """Return what is left of a traceback without an end."""
        held, self._held = self._held, []
        return held


def append_new_lines(api: KubeApi, folder: RunFolder, pods: list[Manifest]) -> None:
    """Append the lines that the pods have printed since the last call.

    A run has one such pod after the other: each is a new start of its driver.

    Args:
        api: of the pods.
        folder: of the run.
        pods: those whose logs are the run's.

    """
    marker = folder.path / ".log.until"
    stored = marker.read_text(encoding="utf-8") if marker.exists() else ""
    until = stored if TIME.match(stored) else ""
    since_s = int(time.time() - _seconds(until)) + CLOCK_SKEW_S if until else None
    lines, last = [], until
    submitter = SubmitterTracebacks()
    for pod in sorted(pods, key=lambda pod: pod["metadata"]["creationTimestamp"]):
        for line in api.pod_log(pod["metadata"]["name"], since_s).split("\n"):
            when, _, text = line.partition(" ")
            if not TIME.match(when):
                continue  # a message of the kubelet itself
            if _order(when) > _order(until):
                if not SUBMITTER_LINE.match(text):
                    lines += submitter.without(text)
                last = max(last, when, key=_order)
    lines += submitter.rest()
    if last != until:
        with folder.log.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))
        marker.write_text(last, encoding="utf-8")


def _order(when: str) -> tuple[str, str]:
    """Return a time in a form that sorts as text: fractions of a second vary in length."""
    second, _, fraction = when.rstrip("Z").partition(".")
    return second, fraction.ljust(9, "0")


def _seconds(when: str) -> float:
    return datetime.strptime(when[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp()
