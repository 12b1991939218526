"""The events of Kubernetes, KubeRay and Kueue about a run."""

from collections.abc import Iterable
from typing import Any

from stoker.clusters.cluster import Event


def run_events(events: Iterable[Any], run: str) -> list[Event]:
    """Return the events of a run and its objects, the oldest first."""
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
    time = event.last_timestamp or event.event_time or event.first_timestamp or event.metadata.creation_timestamp
    return float(time.timestamp())


def _about(thing: Any, run: str) -> str:
    """Return the kind of an object; for a pod also its name, without the names of the run and the Ray cluster."""
    if thing.kind == "Pod" and thing.name.startswith(f"{run}-"):
        rest = thing.name.removeprefix(f"{run}-")
        parts = rest.split("-")
        return f"pod {'-'.join(parts[1:])}" if len(parts) > 1 else f"pod {rest}"
    return str(thing.kind)
