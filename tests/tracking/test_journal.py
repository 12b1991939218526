import threading

from stoker.tracking.journal import Journal, Point, Shipper, read_journal


class Store:
    """Where points go: a list that is down for a while, and remembers what it had before."""

    def __init__(self, outages: int = 0, before: dict[str, int] | None = None) -> None:
        self.points: list[Point] = []
        self.outages = outages
        self.before = before or {}
        self.largest = 0
        self.deaf = 0
        self.asked = threading.Event()

    def last_step(self, key: str) -> int:
        if self.deaf:
            self.deaf -= 1
            raise OSError("down")
        return self.before.get(key, -1)

    def log_points(self, points: list[Point]) -> None:
        self.asked.set()
        self.largest = max(self.largest, len(points))
        if self.outages:
            self.outages -= 1
            raise OSError("down")
        self.points += points


def write(path, steps, keys=("loss/step",)):
    journal = Journal(path)
    for step in steps:
        journal.append(step, 0, dict.fromkeys(keys, step / 2))
    journal.close()


def test_entries_come_back_as_written_and_half_a_line_does_not(tmp_path):
    path = tmp_path / "journal.jsonl"
    write(path, [1, 2])
    with path.open("a") as file:
        file.write('{"time": 1, "st')
    assert [(entry.step, entry.metrics) for entry, _ in read_journal(path)] == [
        (1, {"loss/step": 0.5}),
        (2, {"loss/step": 1.0}),
    ]


def test_ships_every_value_once_in_requests_of_a_thousand(tmp_path):
    path = tmp_path / "journal.jsonl"
    write(path, range(1, 1501), ("a/step", "b/step"))
    store = Store()
    shipper = Shipper(path, store)
    shipper.start()
    assert shipper.close(10) == 0
    assert sorted((p.key, p.step, p.value) for p in store.points) == sorted(
        (key, step, step / 2) for step in range(1, 1501) for key in ("a/step", "b/step")
    )
    assert store.largest == 1000


def test_an_outage_loses_nothing_and_repeats_nothing(tmp_path):
    path = tmp_path / "journal.jsonl"
    write(path, range(1, 11))
    store = Store(outages=3)
    shipper = Shipper(path, store)
    shipper.start()
    assert shipper.close(30) == 0
    assert [p.step for p in store.points] == list(range(1, 11))


def test_what_the_server_has_already_is_skipped(tmp_path):
    path = tmp_path / "journal.jsonl"
    write(path, range(1, 11))
    store = Store(before={"loss/step": 7})
    shipper = Shipper(path, store)
    shipper.start()
    assert shipper.close(10) == 0
    assert [p.step for p in store.points] == [8, 9, 10]


def test_values_written_later_are_shipped_too(tmp_path):
    path = tmp_path / "journal.jsonl"
    write(path, [1])
    store = Store()
    shipper = Shipper(path, store)
    shipper.start()
    assert store.asked.wait(20)
    write(path, [2])
    assert shipper.close(10) == 0
    assert [p.step for p in store.points] == [1, 2]


def test_a_server_that_stays_down_is_counted(tmp_path):
    path = tmp_path / "journal.jsonl"
    write(path, range(1, 6))
    shipper = Shipper(path, Store(outages=10**6))
    shipper.start()
    assert shipper.close(0) == 5


def test_an_outage_at_the_first_sight_of_a_key_loses_nothing(tmp_path):
    path = tmp_path / "journal.jsonl"
    write(path, range(1, 4))
    store = Store()
    store.deaf = 1
    shipper = Shipper(path, store)
    shipper.start()
    assert shipper.close(30) == 0
    assert [p.step for p in store.points] == [1, 2, 3]


def test_entries_that_were_never_taken_are_counted_as_lost(tmp_path):
    path = tmp_path / "journal.jsonl"
    write(path, range(1, 4))
    store = Store()
    store.deaf = 10**6
    shipper = Shipper(path, store)
    shipper.start()
    assert shipper.close(0) == 3
