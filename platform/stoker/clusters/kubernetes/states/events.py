"""The events of Kubernetes, KubeRay and Kueue about a run."""

from collections.abc import Iterable

from stoker.clusters.cluster import Event
from stoker.clusters.kubernetes.metadata import Manifest, seconds


def run_events(events: Iterable[Manifest], run: str) -> list[Event]:
    """Return the events of a run and its objects, the oldest first."""
    found = [
        Event(
            time=event_time(event),
            kind=event.get("type") or "Normal",
            about=_about(event["involvedObject"], run),
            reason=event.get("reason") or "",
            message=" ".join((event.get("message") or "").split()),
            count=event.get("count") or 1,
        )
        for event in events
    ]
    return sorted(found, key=lambda event: event.time)


def event_time(event: Manifest) -> float:
    """Return when an event was last seen, in seconds since 1970."""
    times = [event.get(key) for key in ("lastTimestamp", "eventTime", "firstTimestamp")]
    return seconds(next(filter(None, times), event["metadata"]["creationTimestamp"]))


def _about(thing: Manifest, run: str) -> str:
    """Return the kind of an object; for a pod also its name, without the names of the run and the Ray cluster."""
    if thing["kind"] == "Pod" and thing["name"].startswith(f"{run}-"):
        return f"pod {pod_name(thing['name'], run)}"
    return str(thing["kind"])


def pod_name(name: str, run: str) -> str:
    """Return a pod's name without the names of its run and its Ray cluster."""
    rest = name.removeprefix(f"{run}-")
    return rest.partition("-")[2] or rest
