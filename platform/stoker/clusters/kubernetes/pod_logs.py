"""What the pods of a run have printed, brought to its folder piece by piece."""

import re
import time
from datetime import UTC, datetime
from typing import Any

from stoker.clusters.kubernetes.api import KubeApi
from stoker.tracking.record import RunFolder

CHATTER = re.compile(r"\S+ \S+\t(INFO|SUCC) (cli|sdk|job_manager)\.py:\d+ -- |Running entrypoint for job ")
"""What Ray's own client says of the job."""
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
"""Each line of a pod's log begins so; a progress bar redraws itself within one."""
MARGIN_S = 300
"""The clock here and those there differ by less."""


def append_news(api: KubeApi, folder: RunFolder, pods: list[Any]) -> None:
    """Append what the pods have printed since the last time.

    A run has one pod after the other that prints for it: each is a new start of its driver.

    Args:
        api: of the pods.
        folder: of the run.
        pods: those that print for it.

    """
    place = folder.path / ".log.until"
    kept = place.read_text(encoding="utf-8") if place.exists() else ""
    until = kept if TIME.match(kept) else ""
    since_s = int(time.time() - _seconds(until)) + MARGIN_S if until else None
    news, last = [], until
    for pod in sorted(pods, key=lambda pod: pod.metadata.creation_timestamp):
        for line in api.pod_log(pod.metadata.name, since_s).split("\n"):
            when, _, text = line.partition(" ")
            if not TIME.match(when):
                continue  # what the kubelet says of itself
            if _order(when) > _order(until):
                if not CHATTER.match(text):
                    news.append(text)
                last = max(last, when, key=_order)
    if last != until:
        with folder.log.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in news))
        place.write_text(last, encoding="utf-8")


def _order(when: str) -> tuple[str, str]:
    """Make times comparable as text: their fractions have as many digits as are needed."""
    second, _, fraction = when.rstrip("Z").partition(".")
    return second, fraction.ljust(9, "0")


def _seconds(when: str) -> float:
    return datetime.strptime(when[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp()
