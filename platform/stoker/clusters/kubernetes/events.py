"""What has happened to a run on its cluster, in Kubernetes' own words."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """Something that Kubernetes, KubeRay or Kueue has said."""

    time: float
    """Seconds since 1970: when it was said last."""
    kind: str
    """`Normal` or `Warning`."""
    about: str
    """What it is about, without the run's own name where that is part of it: `head`, `RayJob`."""
    reason: str
    message: str
    count: int
    """How often it was said."""


def events_of(events: Iterable[Any], run: str) -> list[Event]:
    """Order what was said about a run and its objects by time."""
    found = [
        Event(
            time=_time(event),
            kind=event.type or "Normal",
            about=_about(event.involved_object, run),
            reason=event.reason or "",
            message=" ".join((event.message or "").split()),
            count=event.count or 1,
        )
        for event in events
    ]
    return sorted(found, key=lambda event: event.time)


def _time(event: Any) -> float:
    said = event.last_timestamp or event.event_time or event.first_timestamp or event.metadata.creation_timestamp
    return float(said.timestamp())


def _about(thing: Any, run: str) -> str:
    """Name an object: pods by what follows the names of run and cluster."""
    if thing.kind == "Pod" and thing.name.startswith(f"{run}-"):
        rest = thing.name.removeprefix(f"{run}-")
        parts = rest.split("-")
        return f"pod {'-'.join(parts[1:])}" if len(parts) > 1 else f"pod {rest}"
    return str(thing.kind)
