import pytest

from stoker.tracking.journal import Journal, Point, Shipper
from stoker.tracking.system_metrics import SystemMetrics, SystemSample


class Store:
    """A store that is down for a while, and has steps of an earlier driver."""

    def __init__(self, outages=0, before=None):
        self.outages, self.before, self.points = outages, before or {}, []

    def last_step(self, key):
        if self.outages:
            self.outages -= 1
            raise OSError("down")
        return self.before.get(key, -1)

    def log_points(self, points):
        self.points += points

    def log_picture(self, file, step, time_ms):
        raise AssertionError("there is none")


def test_each_worker_has_its_own_names_and_numbers():
    metrics, store = SystemMetrics(), Store(before={"system/worker-1/a": 4})
    for node, time_ms in (("worker-0", 10), ("worker-1", 11), ("worker-0", 20)):
        metrics.add(node, SystemSample(time_ms, {"a": time_ms / 2, "b": 1.0}))
    assert list(metrics.take(store.last_step)) == [
        Point("system/worker-0/a", 5.0, 10, 0),
        Point("system/worker-0/b", 1.0, 10, 0),
        Point("system/worker-1/a", 5.5, 11, 5),
        Point("system/worker-1/b", 1.0, 11, 5),
        Point("system/worker-0/a", 10.0, 20, 1),
        Point("system/worker-0/b", 1.0, 20, 1),
    ]
    assert list(metrics.take(store.last_step)) == []


def test_the_only_worker_has_mlflows_plain_names():
    metrics = SystemMetrics()
    metrics.add("", SystemSample(10, {"a": 1.0}))
    assert list(metrics.take(Store().last_step)) == [Point("system/a", 1.0, 10, 0)]


def test_an_outage_loses_no_sample():
    metrics, store = SystemMetrics(), Store(outages=1)
    metrics.add("", SystemSample(10, {"a": 1.0}))
    with pytest.raises(OSError, match="down"):
        list(metrics.take(store.last_step))
    assert [point.time_ms for point in metrics.take(store.last_step)] == [10]


def test_they_are_shipped_with_the_journal(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(1, 0, {"loss/step": 0.5}, time_ms=9)
    journal.close()
    metrics, store = SystemMetrics(), Store(outages=2)
    metrics.add("", SystemSample(10, {"a": 1.0}))
    shipper = Shipper(tmp_path / "journal.jsonl", store, lambda: metrics.take(store.last_step))
    shipper.start()
    assert shipper.close(10) == 0
    assert store.points == [Point("loss/step", 0.5, 9, 1), Point("system/a", 1.0, 10, 0)]
