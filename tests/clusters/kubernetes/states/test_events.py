"""Kubernetes' events, in the order and the words in which they are shown."""

from stoker.clusters.kubernetes.states.events import run_events


def said(kind, name, reason, second, **more):
    at = f"2026-01-01T00:00:{second:02d}Z"
    values = {"type": "Normal", "count": None, "eventTime": None, "firstTimestamp": None, "lastTimestamp": at}
    about = {"kind": kind, "name": name}
    metadata = {"creationTimestamp": at}
    return {
        **values,
        "involvedObject": about,
        "reason": reason,
        "message": "two\n lines",
        "metadata": metadata,
        **more,
    }


def test_they_are_shown_by_time_with_what_they_are_about():
    run = "digits-0a1b2c3d"
    events = [
        said("Pod", f"{run}-abcde-head-x1y2z", "Started", 5, count=3),
        said("RayJob", run, "CreatedRayCluster", 1),
        said("Pod", f"{run}-abcde-workers-worker-q9", "Unhealthy", 7, type="Warning"),
        said("Pod", f"{run}-f7g8h", "Pulled", 6, lastTimestamp=None),
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
