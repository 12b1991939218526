"""What a training function reports, as entries of the run's journal: each value once, also after a retry."""

import json
import math
import numbers
import posixpath
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ray.train import Checkpoint, UserCallback

from stoker.atomic_files import replace_file
from stoker.execution.run_store import journal_key
from stoker.secret_files import load_secret_files
from stoker.storage import Storage, open_storage
from stoker.tracking.journal import Journal
from stoker.tracking.parameters import REFUSED_IN_NAMES
from stoker.tracking.run_folder import RunFolder

POSITION = "reports.json"
"""File in the run's folder with the position of its reports."""


@dataclass(frozen=True)
class Position:
    """How far the reports of an attempt are."""

    reports: int = 0
    """Number of reports; the last one's step."""
    checkpoint: int = 0
    """The step of the newest report that had a checkpoint."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Of the last report."""
    notes: list[str] = field(default_factory=list)
    """What the user should know about their reports."""


class Reports(UserCallback):  # type: ignore[misc]  # Ray's classes have no types
    """Writes the reports of the first worker to the run's folder, in Ray's controller beside the driver.

    Args:
        folder: of the run.
        first: number of reports of earlier attempts, up to the checkpoint from which this one goes on.
        attempt: counted from 1.
        storage: receives a copy of the journal with each checkpoint; empty where the folder survives.

    """

    def __init__(self, folder: Path, first: int, attempt: int = 1, storage: str = "") -> None:
        self._folder = folder
        self._attempt = attempt
        self._storage_url = storage
        self._storage: Storage | None = None
        self._position = Position(first, first)
        self._journal: Journal | None = None
        self._notes: dict[str, str] = {}
        """By metric."""

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None) -> None:
        """Write the metrics of a report."""
        folder = RunFolder(self._folder)
        self._journal = self._journal or Journal(folder.journal)
        step = self._position.reports + 1
        known = dict(self._numbers(metrics[0]))
        epoch = int(known["epoch"]) if known.get("epoch", math.nan) >= 0 else step
        self._journal.append(step, epoch, known)
        self._journal.flush()
        saved = step if checkpoint else self._position.checkpoint
        self._position = Position(step, saved, known, [*self._notes.values()])
        if checkpoint and self._storage_url:
            self._store(folder.journal.read_bytes())
        replace_file(self._folder / POSITION, json.dumps(asdict(self._position)), sync=False)
        folder.write_progress(replace(folder.progress(), phase="training", epoch=epoch, step=step, metrics=known))

    def _store(self, journal: bytes) -> None:
        """Store the journal, so that it is never older than the checkpoint; Ray has stored that just now."""
        if self._storage is None:
            load_secret_files()
            self._storage = open_storage(self._storage_url)
        self._storage.put(journal_key(self._attempt), [journal])

    def _numbers(self, reported: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
        """Yield the numbers of a report, those of nested objects with a path as their name; say what is left out."""
        for key, value in reported.items():
            name = f"{prefix}{key}"
            if isinstance(value, Mapping):
                yield from self._numbers(value, f"{name}/")
                continue
            number = _number(value)
            if number is None:
                self._notes.setdefault(name, f"'{name}' is no number, and not recorded")
                continue
            usable = usable_name(name)
            if usable != name:
                self._notes.setdefault(name, f"MLflow takes no metric '{name}'; it is recorded as '{usable}'")
            yield usable, number


def _number(value: Any) -> float | None:
    """Return a number of Python, numpy or torch; None for anything else, and for an array of several."""
    with suppress(ValueError, RuntimeError):
        value = value.item() if hasattr(value, "item") else value
    return float(value) if isinstance(value, numbers.Real) else None


def usable_name(name: str) -> str:
    """Return the name under which MLflow takes a metric: it refuses some characters, and paths such as `a//b`."""
    return posixpath.normpath(REFUSED_IN_NAMES.sub("_", name)).strip("/.") or "_"


def read_position(folder: RunFolder) -> Position:
    """Read how far the reports of the current attempt are."""
    try:
        return Position(**json.loads((folder.path / POSITION).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Position()
