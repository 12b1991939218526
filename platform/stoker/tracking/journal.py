"""The journal of a run's metrics and pictures: appended once, and shipped to MLflow in the background."""

import json
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from stoker.tracking.run_folder import follow_lines

SHIP_EVERY_S = 2.0
LONGEST_WAIT_S = 30.0
BATCH = 1000
"""MLflow's limit of metrics per request."""


@dataclass(frozen=True)
class Entry:
    """Metrics of one step, or a picture."""

    time_ms: int
    step: int
    epoch: int
    metrics: dict[str, float]
    picture: str = ""
    """An image file, relative to the journal's folder; written before the entry."""


class Journal:
    """Appends entries to a file: only whole lines count. Each metric has one value per step, each picture one entry.

    An attempt that continues from a checkpoint repeats steps; the first value stays.
    """

    def __init__(self, path: Path) -> None:
        self._last: dict[str, int] = {}
        """The last step of each metric."""
        self._pictures: set[str] = set()
        whole = 0
        for entry, after in read_journal(path):
            self._pictures.add(entry.picture)
            self._last.update(dict.fromkeys(entry.metrics, entry.step))
            whole = after
        self._file = path.open("a", encoding="utf-8")
        self._file.truncate(whole)  # a killed writer leaves half a line, which would spoil the next entry

    def append(self, step: int, epoch: int, metrics: Mapping[str, float], time_ms: int = 0) -> None:
        """Append the new metrics of a step, by default with the current time; they are buffered until `flush`."""
        new = {key: value for key, value in metrics.items() if step > self._last.get(key, -1)}
        if new:
            self._write(step, epoch, time_ms, {"metrics": new})
            self._last.update(dict.fromkeys(new, step))

    def append_picture(self, step: int, epoch: int, picture: str, time_ms: int = 0) -> None:
        """Append a picture, whose file exists, unless it has an entry."""
        if picture not in self._pictures:
            self._write(step, epoch, time_ms, {"metrics": {}, "picture": picture})
            self._pictures.add(picture)

    def copy(self, entry: Entry) -> None:
        """Append what is new of an entry of another journal of the same run."""
        self.append(entry.step, entry.epoch, entry.metrics, entry.time_ms)
        if entry.picture:
            self.append_picture(entry.step, entry.epoch, entry.picture, entry.time_ms)

    def flush(self) -> None:
        """Flush the file: its content survives the death of this process."""
        self._file.flush()

    def sync(self) -> None:
        """Sync the file: its content survives a power cut."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush and close."""
        self._file.close()

    def _write(self, step: int, epoch: int, time_ms: int, content: Mapping[str, object]) -> None:
        entry = {"time": time_ms or time.time_ns() // 1_000_000, "step": step, "epoch": epoch, **content}
        self._file.write(json.dumps(entry) + "\n")


def read_journal(path: Path, position: int = 0) -> Iterator[tuple[Entry, int]]:
    """Read entries from a byte position on, each with the position after it."""
    for line, after in follow_lines(path, position):
        yield _entry(line), after


def epoch_metrics(entry: Entry) -> dict[str, float]:
    """Return the metrics of an entry written at the end of an epoch; empty for one of a step or of the run's end."""
    metrics = {key: value for key, value in entry.metrics.items() if not key.endswith("/step")}
    return {} if any(key.endswith("/test") for key in metrics) else metrics


def read_entries(content: bytes) -> Iterator[Entry]:
    """Read the entries of a journal's whole lines."""
    for line in content[: content.rfind(b"\n") + 1].splitlines():
        yield _entry(line)


def pictures_in(content: bytes) -> list[str]:
    """Return the pictures of a journal's whole lines, parsing no others: most are of steps."""
    return [_entry(line).picture for line in content.splitlines() if b'"picture"' in line]


def _entry(line: str | bytes) -> Entry:
    content = json.loads(line)
    return Entry(content["time"], content["step"], content["epoch"], content["metrics"], content.get("picture", ""))


@dataclass(frozen=True)
class Point:
    """One value of one metric."""

    key: str
    value: float
    time_ms: int
    step: int


class Sink(Protocol):
    """The destination of metrics and pictures."""

    def last_step(self, key: str) -> int:
        """Return a metric's last step at the destination; -1 for none."""

    def log_points(self, points: list[Point]) -> None:
        """Store values; raises OSError if a retry may succeed."""

    def log_picture(self, file: Path, step: int, time_ms: int) -> None:
        """Store a picture, in place of the same one; raises OSError if a retry may succeed."""


class Backlog:
    """The entries of a growing journal that the destination lacks.

    Args:
        path: of the journal.
        last_step: returns a metric's last step at the destination; -1 for none.

    """

    def __init__(self, path: Path, last_step: Callable[[str], int]) -> None:
        self.points: list[Point] = []
        self.pictures: list[Entry] = []
        """All of the journal; the destination may have some, which it replaces."""
        self._path = path
        self._last_step = last_step
        self._position = 0
        self._last: dict[str, int] = {}

    def read(self) -> None:
        """Read new entries; an entry is read completely or not at all, even if `last_step` raises."""
        for entry, after in read_journal(self._path, self._position):
            for key in entry.metrics.keys() - self._last.keys():
                self._last[key] = self._last_step(key)
            self.points += [
                Point(key, value, entry.time_ms, entry.step)
                for key, value in entry.metrics.items()
                if entry.step > self._last[key]
            ]
            self.pictures += [entry] if entry.picture else []
            self._position = after

    def count(self) -> int:
        """Count the values and pictures that the destination lacks, including values not read yet."""
        return (
            len(self.points)
            + len(self.pictures)
            + sum(len(entry.metrics) for entry, _ in read_journal(self._path, self._position))
        )


class Shipper:
    """Ships a journal to a sink in a background thread; values that the sink has are skipped, pictures replaced.

    Args:
        path: of the journal.
        sink: the destination.
        more: returns further values, which are in no journal; it may raise OSError like the sink.

    """

    def __init__(self, path: Path, sink: Sink, more: Callable[[], Iterable[Point]] = tuple) -> None:
        self._sink = sink
        self._more = more
        self._folder = path.parent
        self._backlog = Backlog(path, sink.last_step)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shipper", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self, patience_s: float) -> int:
        """Ship the rest until the timeout; return the number of values that could not be shipped."""
        deadline = time.monotonic() + patience_s
        self._closing.set()
        self._thread.join(patience_s)
        while not self._ship() and time.monotonic() < deadline:
            time.sleep(1.0)
        return self._backlog.count()

    def _run(self) -> None:
        wait = SHIP_EVERY_S
        while not self._closing.wait(wait):
            wait = SHIP_EVERY_S if self._ship() else min(2 * wait, LONGEST_WAIT_S)

    def _ship(self) -> bool:
        """Ship all new values; return False where the sink is down, which loses nothing."""
        with self._lock:
            try:
                self._backlog.read()
                for point in self._more():  # one by one: it may raise after some
                    self._backlog.points.append(point)
                while self._backlog.points:
                    self._sink.log_points(self._backlog.points[:BATCH])
                    del self._backlog.points[:BATCH]
                while self._backlog.pictures:  # after all values, which must not wait for a store of files
                    self._ship_picture(self._backlog.pictures[0])
                    del self._backlog.pictures[0]
            except OSError:
                return False
        return True

    def _ship_picture(self, entry: Entry) -> None:
        """Ship a picture; one that is lost, or that the sink refuses for good, does not hold up what follows."""
        file = self._folder / entry.picture
        if not file.exists():
            return
        try:
            self._sink.log_picture(file, entry.step, entry.time_ms)
        except OSError:
            raise
        except Exception:
            traceback.print_exc()
