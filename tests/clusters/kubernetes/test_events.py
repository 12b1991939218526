"""Kubernetes' events, in the order and the words in which they are shown."""

from datetime import UTC, datetime
from types import SimpleNamespace

from stoker.clusters.kubernetes.events import run_events


def said(kind, name, reason, second, **more):
    at = datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC)
    values = {"type": "Normal", "count": None, "event_time": None, "first_timestamp": None, "last_timestamp": at}
    about = SimpleNamespace(kind=kind, name=name)
    metadata = SimpleNamespace(creation_timestamp=at)
    message = "two\n lines"
    return SimpleNamespace(
        **{**values, "involved_object": about, "reason": reason, "message": message, "metadata": metadata, **more}
    )


def test_they_are_shown_by_time_with_what_they_are_about():
    run = "digits-0a1b2c3d"
    events = [
        said("Pod", f"{run}-abcde-head-x1y2z", "Started", 5, count=3),
        said("RayJob", run, "CreatedRayCluster", 1),
        said("Pod", f"{run}-abcde-workers-worker-q9", "Unhealthy", 7, type="Warning"),
        said("Pod", f"{run}-f7g8h", "Pulled", 6, last_timestamp=None),
    ]
    found = run_events(events, run)
    assert [(event.about, event.reason) for event in found] == [
        ("RayJob", "CreatedRayCluster"),
        ("pod head-x1y2z", "Started"),
        ("pod f7g8h", "Pulled"),
        ("pod workers-worker-q9", "Unhealthy"),
    ]
    assert [event.count for event in found] == [1, 3, 1, 1]
    assert (found[-1].kind, found[0].message) == ("Warning", "two lines")
