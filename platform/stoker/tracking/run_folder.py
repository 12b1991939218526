"""The folder of a run: what is known of it without any server, and whether its driver lives.

runs/<id>/
  run.json        who it is; written once, before the driver starts
  job.yaml        the checked file
  resolved.yaml   the file with every default and choice written out
  state.json      what the driver last said of the state
  progress.json   how far the worker is
  journal.jsonl   every metric, once
  driver.lock     held by the living driver: the lease
  log.txt         what driver and worker print
  cancel, pause   requests: somebody wants the run to end, or to rest
  code/           the user's own modules, where the job names one
  checkpoints/    where settings name no other storage
  model/, artifacts/
  trials.jsonl, trials/<id>.<n>/   of a sweep: its ledger, and a folder like this one for each trial
  sweep.json      of a sweep: what it looks for and what it found
  more_trials     of a sweep that was extended: how many trials came on top of its job's
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from stoker.atomic_files import replace_file
from stoker.tracking.run import Progress, RunHeader, RunRecord, RunStatus, State, known_fields, status_from

ASKED_S = 0.2
"""A lease that is held longer than this is a driver's."""


class RunFolder:
    """Reads and writes one run's folder; every write replaces a whole file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def header_file(self) -> Path:
        """The run's header; written once."""
        return self.path / "run.json"

    @property
    def status_file(self) -> Path:
        """The status that the driver last wrote."""
        return self.path / "state.json"

    @property
    def progress_file(self) -> Path:
        """The progress that the first worker last wrote."""
        return self.path / "progress.json"

    @property
    def job(self) -> Path:
        """The checked job file."""
        return self.path / "job.yaml"

    @property
    def resolved(self) -> Path:
        """The job file with every choice written out."""
        return self.path / "resolved.yaml"

    @property
    def journal(self) -> Path:
        """Every metric of the run, one JSON object a line."""
        return self.path / "journal.jsonl"

    @property
    def log(self) -> Path:
        """What the driver and the worker print."""
        return self.path / "log.txt"

    @property
    def model(self) -> Path:
        """The best weights and all that is needed to use them."""
        return self.path / "model"

    @property
    def artifacts(self) -> Path:
        """Figures and tables of the record."""
        return self.path / "artifacts"

    @property
    def code(self) -> Path:
        """The user's own modules."""
        return self.path / "code"

    def code_content(self) -> dict[str, bytes]:
        """Read the user's own modules, by their path below the folder of the code."""
        return {str(path.relative_to(self.code)): path.read_bytes() for path in sorted(self.code.rglob("*.py"))}

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints are kept unless settings name another storage."""
        return self.path / "checkpoints"

    @property
    def ledger(self) -> Path:
        """What happened to the trials of a sweep; only a sweep has one."""
        return self.path / "trials.jsonl"

    @property
    def facts(self) -> Path:
        """What a sweep looks for; only a sweep has it, from before its first trial on."""
        return self.path / "sweep.json"

    @property
    def more_trials_file(self) -> Path:
        """How many trials `extend` has added; only an extended sweep has it."""
        return self.path / "more_trials"

    def more_trials(self) -> int:
        """Tell how many trials `extend` has added to those of a sweep's job."""
        try:
            return int(self.more_trials_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return 0

    def write_more_trials(self, number: int) -> None:
        """Say how many trials there are on top of those of a sweep's job."""
        replace_file(self.more_trials_file, f"{number}\n")

    def trial(self, number: int) -> "RunFolder":
        """Return the folder of a sweep's trial, which is a run like any other."""
        return RunFolder(self.path / "trials" / f"{self.path.name}.{number}")

    def beside(self, run: str) -> "RunFolder":
        """Return the folder of another run of the same home, or of a trial there, by its whole id."""
        sweep, dot, number = run.rpartition(".")
        home = self.sweep or self
        return home.beside(sweep).trial(int(number)) if dot else RunFolder(home.path.with_name(run))

    @property
    def sweep(self) -> "RunFolder | None":
        """The folder of the sweep that this run is a trial of; None for a run of its own."""
        return RunFolder(self.path.parents[1]) if self.path.parent.name == "trials" else None

    @property
    def adopted(self) -> Path:
        """Exists where somebody else has submitted the run, and this home only looks at it."""
        return self.path / "adopted"

    @property
    def cancel_request(self) -> Path:
        """Exists once somebody asked the run to end."""
        return self.path / "cancel"

    @property
    def pause_request(self) -> Path:
        """Exists once somebody asked the run to rest."""
        return self.path / "pause"

    def create(self, header: RunHeader, job: str, code: Mapping[str, Path] | None = None) -> None:
        """Make the folder, whole or not at all.

        Args:
            header: who the run is.
            job: the checked file.
            code: the user's files by their path below the folder of the code.

        """
        draft = RunFolder(self.path.with_name(f".{self.path.name}.new"))
        draft.path.mkdir(parents=True)
        try:
            draft.job.write_text(job, encoding="utf-8")
            draft.header_file.write_text(json.dumps(asdict(header)), encoding="utf-8")
            for name, source in (code or {}).items():
                target = draft.code / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(source.read_bytes())
            draft.path.rename(self.path)
        except BaseException:
            import shutil  # an eighth of the time that `stoker ls` takes

            shutil.rmtree(draft.path, ignore_errors=True)
            raise

    def header(self) -> RunHeader:
        """Read who the run is."""
        return RunHeader(**known_fields(RunHeader, read_json(self.header_file)))

    def readable(self) -> bool:
        """Tell whether this is the folder of a run, and not what something else left or cut short."""
        try:
            self.header()
        except (OSError, ValueError, TypeError):
            return False
        return True

    def status(self) -> RunStatus:
        """Read what the driver last said; a run without a word is starting."""
        return status_from(read_json(self.status_file))

    def write_status(self, status: RunStatus) -> None:
        """Say where the run stands."""
        write_json(self.status_file, asdict(status))

    def clear_requests(self) -> None:
        """Take back what was asked of an earlier driver."""
        for request in (self.cancel_request, self.pause_request):
            request.unlink(missing_ok=True)

    def reopen(self, word: str = "") -> None:
        """Let an ended run begin again: nothing is left of how it ended, all is of how far it came."""
        self.clear_requests()
        self.write_progress(replace(self.progress(), phase=Progress.phase, seconds_left=0.0))
        self.write_status(replace(self.status().for_next_driver(), reopened=word))

    def progress(self) -> Progress:
        """Read how far training is."""
        return Progress(**known_fields(Progress, read_json(self.progress_file)))

    def write_progress(self, progress: Progress) -> None:
        """Say how far training is."""
        write_json(self.progress_file, asdict(progress), sync=False)  # several times a second, while a network trains

    def hold_lease(self, pid: int) -> int:
        """Take the driver's lease and return its open file, which another process may be given.

        The lease ends when the last process that has this file open ends, however it ends.

        Args:
            pid: the driver, so that `cancel` can tell it.

        Raises:
            BlockingIOError: another driver holds it.

        """
        lease = os.open(self.path / "driver.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(lease)
            os.ftruncate(lease, 0)
            os.write(lease, str(pid).encode())
        except OSError:
            os.close(lease)
            raise
        return lease

    def has_driver(self) -> bool:
        """Ask the lease whether a driver works on this run."""
        return self.driver_pid() is not None

    def driver_pid(self) -> int | None:
        """Name the process that holds the lease, if one does; a trial has its sweep's driver."""
        if self.sweep:
            return self.sweep.driver_pid()
        try:
            lease = os.open(self.path / "driver.lock", os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(lease, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            while not (pid := os.pread(lease, 20, 0)):  # it is written right after the lease is taken
                time.sleep(0.001)
            return int(pid)
        finally:
            os.close(lease)
        return None

    def record(self) -> RunRecord:
        """Derive the state from the record and the driver's lease: the one place where this is done.

        Of a run on a cluster the record is all there is here; its cluster brings it up to date.
        """
        status, header = self.status(), self.header()
        if not header.cluster and not status.state.ended and not self.has_driver():
            status = self.status()  # it may have ended between the two looks
            if not status.state.ended:
                whole = (self.sweep or self).path.name
                message = status.message or f"its driver is gone; `stoker resume {whole}` goes on from here"
                status = RunStatus(**{**asdict(status), "state": State.INTERRUPTED, "message": message})
        return RunRecord(header, status, self.path)


def follow_lines(path: Path, position: int = 0) -> Iterator[tuple[str, int]]:
    """Yield the whole lines of a growing file from a byte position on, each with the position behind it."""
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(position)
        for line in file:
            if not line.endswith(b"\n"):
                return  # half a line: its writer is not done
            position += len(line)
            yield line.decode("utf-8", errors="replace").rstrip("\r\n"), position


def _lock(lease: int) -> None:
    """Lock for good; who only asks whether a driver lives holds the lock for a moment, and is waited for."""
    deadline = time.monotonic() + ASKED_S
    while True:
        try:
            fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.002)
        else:
            return


def read_json(path: Path) -> dict[str, Any]:
    """Read an object; what is missing or cut short says nothing."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(path: Path, content: dict[str, Any], sync: bool = True) -> None:
    """Write an object, whole or not at all."""
    replace_file(path, json.dumps(content), sync)
