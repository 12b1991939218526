"""The ledger of a sweep: an append-only log of its trials, their values, progress and outcomes.

trials.jsonl in the sweep's folder, one object per line:
  {"trial": 3, "event": "begin", "picks": {...}, "values": {...}, "time": ...}
  {"trial": 3, "event": "report", "epoch": 2, "step": 46, "metrics": {...}, "time": ...}
  {"trial": 3, "event": "values", "picks": {...}, "values": {...}, "source": 1, "copy": "...", "time": ...}
                       the trial continues from a copy of another one's checkpoint, with other values
  {"trial": 3, "event": "end", "state": "PRUNED", "metrics": {...}, "cause": "", "message": "", "time": ...}
  {"trial": 3, "event": "reopen", "time": ...}
Searches and schedulers are restored by replaying the entries in their order.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from stoker.tracking.run import State, now
from stoker.tracking.run_folder import follow_lines
from stoker.tracking.trials import Change, EpochReport, Trial


class Ledger:
    """Appends to the ledger; only whole lines count. Each entry survives the death of this process."""

    def __init__(self, path: Path) -> None:
        self.trials: dict[int, Trial] = {}
        whole = 0
        for entry, after in _entries(path):
            _apply(self.trials, entry)
            whole = after
        self._file = path.open("a", encoding="utf-8")
        self._file.truncate(whole)

    def begin(self, number: int, picks: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Record that a trial was chosen, before it is created."""
        self._append(number, "begin", picks=dict(picks), values=dict(values))
        os.fsync(self._file.fileno())

    def report(self, number: int, epoch: int, step: int, metrics: Mapping[str, float]) -> bool:
        """Record an epoch; return False for a known one, which a continued attempt repeats."""
        if epoch <= self.trials[number].epoch:
            return False
        self._append(number, "report", epoch=epoch, step=step, metrics=dict(metrics))
        return True

    def change(self, number: int, picks: Mapping[str, Any], values: Mapping[str, Any], source: int, copy: str) -> None:
        """Record that a trial continues from a copy of another one's checkpoint, with other values."""
        self._append(number, "values", picks=dict(picks), values=dict(values), source=source, copy=copy)
        os.fsync(self._file.fileno())

    def end(self, number: int, state: State, metrics: Mapping[str, float], cause: str = "", message: str = "") -> None:
        """Record how a trial ended; the first outcome stays."""
        if self.trials[number].state.final:
            return
        self._append(number, "end", state=str(state), metrics=dict(metrics), cause=cause, message=message)
        os.fsync(self._file.fileno())

    def reopen(self, number: int) -> None:
        """Record that a failed or cancelled trial continues."""
        self._append(number, "reopen")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, number: int, event: str, **more: Any) -> None:
        entry = {"trial": number, "event": event, **more, "time": now()}
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()
        _apply(self.trials, entry)


class LedgerReader:
    """Follows a ledger that another process writes; each entry is read once."""

    def __init__(self, path: Path) -> None:
        self.trials: dict[int, Trial] = {}
        self._path = path
        self._position = 0

    def read(self) -> list[Trial]:
        """Read new entries and return all trials by number."""
        for entry, after in _entries(self._path, self._position):
            _apply(self.trials, entry)
            self._position = after
        return [self.trials[number] for number in sorted(self.trials)]


def read_trials(path: Path) -> list[Trial]:
    """Read a ledger that another process may be writing, by trial number; empty without one."""
    return LedgerReader(path).read()


def ledger_entries(path: Path) -> Iterator[dict[str, Any]]:
    """Read the entries in their order."""
    for entry, _ in _entries(path):
        yield entry


def _entries(path: Path, position: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    for line, after in follow_lines(path, position):
        yield json.loads(line), after


def _apply(trials: dict[int, Trial], entry: Mapping[str, Any]) -> None:
    """Update the trials by an entry; unknown events, from newer versions, are ignored."""
    number, time = entry["trial"], entry["time"]
    match entry["event"]:
        case "begin":
            trials[number] = Trial(number, entry["picks"], entry["values"], began=time)
        case "report":
            report = EpochReport(entry["epoch"], entry["step"], entry["metrics"])
            trials[number] = replace(trials[number], reports=(*trials[number].reports, report))
        case "values":
            before, source = trials[number], entry["source"]
            trials[number] = replace(
                before,
                picks=entry["picks"],
                values=entry["values"],
                changes=(*before.changes, Change(before.epoch, source, entry["copy"], entry["values"])),
                inherited=trials[source].lineage,
                discarded=len(before.reports),
            )
        case "reopen":
            trials[number] = replace(trials[number], state=State.RUNNING, cause="", message="", ended=0.0)
        case "end":
            trials[number] = replace(
                trials[number],
                state=State(entry["state"]),
                metrics=entry["metrics"],
                cause=entry["cause"],
                message=entry["message"],
                ended=time,
            )
