import threading
from pathlib import Path

from stoker.tracking.journal import Journal, Point, Shipper, pictures_in, read_journal


class Store:
    """Where points go: a list that is down for a while, and remembers what it had before."""

    def __init__(self, outages: int = 0, before: dict[str, int] | None = None) -> None:
        self.points: list[Point] = []
        self.outages = outages
        self.before = before or {}
        self.largest = 0
        self.deaf = 0
        self.asked = threading.Event()
        self.pictures: list[tuple[str, int, int]] = []
        self.no_files = 0
        self.refuses = False

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

    def log_picture(self, file: Path, step: int, time_ms: int) -> None:
        if self.refuses:
            raise ValueError("no pictures here")
        if self.no_files:
            self.no_files -= 1
            raise OSError("down")
        assert file.read_bytes() == b"png"
        self.pictures.append((file.name, step, time_ms))


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


def test_half_a_line_of_a_killed_writer_costs_nothing_that_follows(tmp_path):
    path = tmp_path / "journal.jsonl"
    write(path, [1, 2])
    with path.open("a") as file:
        file.write('{"time": 1, "step": 3, "epo')
    write(path, [3, 4])
    assert [entry.step for entry, _ in read_journal(path)] == [1, 2, 3, 4]


def test_steps_that_are_repeated_after_a_checkpoint_keep_their_first_value(tmp_path):
    path = tmp_path / "journal.jsonl"
    write(path, range(1, 6), ("a/step",))
    again = Journal(path)
    for step in range(3, 8):
        again.append(step, 0, {"a/step": -1.0, "b/step": float(step)})
    again.sync()
    values = [(key, e.step, value) for e, _ in read_journal(path) for key, value in e.metrics.items()]
    assert [step for key, step, _ in values if key == "a/step"] == [1, 2, 3, 4, 5, 6, 7]
    assert [value for key, step, value in values if key == "a/step" and step < 6] == [0.5, 1.0, 1.5, 2.0, 2.5]
    assert [step for key, step, _ in values if key == "b/step"] == [3, 4, 5, 6, 7]
    again.close()


def test_nothing_new_writes_no_line(tmp_path):
    path = tmp_path / "journal.jsonl"
    write(path, [1, 2])
    size = path.stat().st_size
    write(path, [1, 2])
    assert path.stat().st_size == size


def test_a_shipper_that_died_in_the_middle_is_followed_by_one_that_ships_the_rest(tmp_path):
    class Dying(Store):
        def log_points(self, points: list[Point]) -> None:
            super().log_points(points)
            self.outages = 10**6

    path = tmp_path / "journal.jsonl"
    write(path, range(1, 1501), ("a/step", "b/step"))
    first = Dying()
    shipper = Shipper(path, first)
    shipper.start()
    assert shipper.close(0) == 2000
    there = {key: max(point.step for point in first.points if point.key == key) for key in ("a/step", "b/step")}
    second = Store(before=there)
    shipper = Shipper(path, second)
    shipper.start()
    assert shipper.close(10) == 0
    shipped = sorted((point.key, point.step) for point in first.points + second.points)
    assert shipped == sorted((key, step) for step in range(1, 1501) for key in ("a/step", "b/step"))


def draw(path, *steps):
    """Write pictures as a worker does: the file, then its entry."""
    journal = Journal(path)
    for step in steps:
        name = f"pictures/seen-{step}.png"
        (path.parent / "pictures").mkdir(exist_ok=True)
        (path.parent / name).write_bytes(b"png")
        journal.append(step, step, {"loss/val": 0.5})
        journal.append_picture(step, step, name)
    journal.close()


def test_a_picture_has_one_entry_whatever_is_repeated(tmp_path):
    path = tmp_path / "journal.jsonl"
    draw(path, 1, 2)
    draw(path, 2, 3)
    entries = [entry for entry, _ in read_journal(path)]
    assert [entry.picture for entry in entries if entry.picture] == [f"pictures/seen-{step}.png" for step in (1, 2, 3)]
    assert [entry.step for entry in entries if entry.metrics] == [1, 2, 3]
    assert pictures_in(path.read_bytes()) == [entry.picture for entry in entries if entry.picture]
    copy = Journal(tmp_path / "copy.jsonl")
    for entry in [*entries, *entries]:
        copy.copy(entry)
    copy.close()
    assert [entry for entry, _ in read_journal(tmp_path / "copy.jsonl")] == entries


def test_pictures_are_shipped_under_the_same_names_by_each_shipper(tmp_path):
    path = tmp_path / "journal.jsonl"
    draw(path, 1, 2)
    times = [entry.time_ms for entry, _ in read_journal(path) if entry.picture]
    first, second = Store(), Store(before={"loss/val": 2})
    for store in (first, second):
        shipper = Shipper(path, store)
        shipper.start()
        assert shipper.close(10) == 0
        assert store.pictures == [("seen-1.png", 1, times[0]), ("seen-2.png", 2, times[1])]
    assert [point.step for point in first.points] == [1, 2]
    assert second.points == []


def test_a_store_of_files_that_is_down_holds_up_no_value_and_loses_no_picture(tmp_path):
    path = tmp_path / "journal.jsonl"
    draw(path, 1, 2)
    store = Store()
    store.no_files = 2
    shipper = Shipper(path, store)
    shipper.start()
    assert store.asked.wait(20)
    draw(path, 3)
    assert shipper.close(30) == 0
    assert [point.step for point in store.points] == [1, 2, 3]
    assert [name for name, _, _ in store.pictures] == ["seen-1.png", "seen-2.png", "seen-3.png"]
    store.no_files = 10**6
    draw(path, 4)
    down = Shipper(path, store)
    down.start()
    assert down.close(0) >= 4  # the pictures that it could not ship


def test_a_picture_that_is_lost_or_refused_holds_up_nothing(tmp_path):
    path = tmp_path / "journal.jsonl"
    draw(path, 1, 2)
    (tmp_path / "pictures" / "seen-1.png").unlink()
    store = Store()
    shipper = Shipper(path, store)
    shipper.start()
    assert shipper.close(10) == 0
    assert [name for name, _, _ in store.pictures] == ["seen-2.png"]
    refusing = Store()
    refusing.refuses = True
    shipper = Shipper(path, refusing)
    shipper.start()
    assert shipper.close(10) == 0
    assert [point.step for point in refusing.points] == [1, 2]
