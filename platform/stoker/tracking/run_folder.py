"""The folder of a run: its record on this machine, and the lease of its driver.

runs/<id>/
  run.json        header; written once, before the driver starts
  job.yaml        the checked file
  resolved.yaml   the file with every default and choice written out
  state.json      status, as the driver last wrote it
  progress.json   progress, as the first worker last wrote it
  journal.jsonl   all metrics, and the names of the pictures
  pictures/       of what the network makes of some samples, drawn while it trains
  driver.lock     the lease, held by the living driver
  log.txt         output of driver and workers
  cancel, pause   requests
  code/           the user's own modules, if the job names one
  checkpoints/    unless settings name another storage
  model/, artifacts/
  trials.jsonl, trials/<id>.<n>/   of a sweep: its ledger, and a folder like this one for each trial
  sweep.json      of a sweep: its goals and its results
  more_trials     of an extended sweep: the number of added trials
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from stoker.atomic_files import replace_file
from stoker.tracking.lease import lease_holder, take_lease
from stoker.tracking.run import Progress, RunHeader, RunRecord, RunStatus, State, known_fields, status_from


class RunFolder:
    """Reads and writes one run's folder; every write replaces a whole file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def header_file(self) -> Path:
        """Return the path of the header."""
        return self.path / "run.json"

    @property
    def status_file(self) -> Path:
        """Return the path of the status."""
        return self.path / "state.json"

    @property
    def progress_file(self) -> Path:
        """Return the path of the progress."""
        return self.path / "progress.json"

    @property
    def job(self) -> Path:
        """Return the path of the checked job file."""
        return self.path / "job.yaml"

    @property
    def resolved(self) -> Path:
        """Return the path of the resolved job file."""
        return self.path / "resolved.yaml"

    @property
    def journal(self) -> Path:
        """Return the path of the journal of metrics, one JSON object per line."""
        return self.path / "journal.jsonl"

    @property
    def pictures(self) -> Path:
        """Return the folder of the pictures that are drawn during training."""
        return self.path / "pictures"

    @property
    def log(self) -> Path:
        """Return the path of the output of driver and workers."""
        return self.path / "log.txt"

    @property
    def model(self) -> Path:
        """Return the folder of the best weights and everything needed to use them."""
        return self.path / "model"

    @property
    def artifacts(self) -> Path:
        """Return the folder of figures and tables."""
        return self.path / "artifacts"

    @property
    def code(self) -> Path:
        """Return the folder of the user's own modules."""
        return self.path / "code"

    def code_files(self) -> list[Path]:
        """Return the paths of the user's own modules and settings."""
        return [path for path in sorted(self.code.rglob("*")) if path.is_file() and path.suffix != ".pyc"]

    def code_content(self) -> dict[str, bytes]:
        """Read the user's own modules and settings, by path relative to the code folder."""
        return {str(path.relative_to(self.code)): path.read_bytes() for path in self.code_files()}

    @property
    def checkpoints(self) -> Path:
        """Return the folder of checkpoints, used unless settings name another storage."""
        return self.path / "checkpoints"

    @property
    def ledger(self) -> Path:
        """Return the path of the ledger of trials; only a sweep has one."""
        return self.path / "trials.jsonl"

    @property
    def facts(self) -> Path:
        """Return the path of the sweep's facts; only a sweep has it, from before its first trial on."""
        return self.path / "sweep.json"

    @property
    def more_trials_file(self) -> Path:
        """Return the path of the number of trials that `extend` has added."""
        return self.path / "more_trials"

    def more_trials(self) -> int:
        """Read how many trials `extend` has added to a sweep's job."""
        try:
            return int(self.more_trials_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return 0

    def write_more_trials(self, number: int) -> None:
        """Write the number of added trials."""
        replace_file(self.more_trials_file, f"{number}\n")

    def trial(self, number: int) -> "RunFolder":
        """Return the folder of a sweep's trial, which is structured like that of a single run."""
        return RunFolder(self.path / "trials" / f"{self.path.name}.{number}")

    def beside(self, run: str) -> "RunFolder":
        """Return the folder of another run or trial of the same home, by its id."""
        sweep, dot, number = run.rpartition(".")
        home = self.sweep or self
        return home.beside(sweep).trial(int(number)) if dot else RunFolder(home.path.with_name(run))

    @property
    def sweep(self) -> "RunFolder | None":
        """Return the folder of the sweep that this trial belongs to; None for a single run."""
        return RunFolder(self.path.parents[1]) if self.path.parent.name == "trials" else None

    @property
    def lease(self) -> Path:
        """Return the path of the lease, which the living driver holds."""
        return self.path / "driver.lock"

    @property
    def adopted(self) -> Path:
        """Return the file that marks a run of another home, which this home only watches."""
        return self.path / "adopted"

    @property
    def cancel_request(self) -> Path:
        """Return the file that requests cancellation."""
        return self.path / "cancel"

    @property
    def pause_request(self) -> Path:
        """Return the file that requests a pause."""
        return self.path / "pause"

    def create(self, header: RunHeader, job: str, code: Mapping[str, Path] | None = None) -> None:
        """Create the folder, completely or not at all.

        Args:
            header: of the run.
            job: the checked file.
            code: the user's files, by path relative to the code folder.

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
            import shutil  # imported here, because it is an eighth of the time of `stoker ls`

            shutil.rmtree(draft.path, ignore_errors=True)
            raise

    def header(self) -> RunHeader:
        """Read the header."""
        return RunHeader(**known_fields(RunHeader, read_json(self.header_file)))

    def readable(self) -> bool:
        """Return whether this is a run's folder, and not a foreign or incomplete one."""
        try:
            self.header()
        except (OSError, ValueError, TypeError):
            return False
        return True

    def status(self) -> RunStatus:
        """Read the status; a run without one is starting."""
        return status_from(read_json(self.status_file))

    def write_status(self, status: RunStatus) -> None:
        """Write the status."""
        write_json(self.status_file, asdict(status))

    def clear_requests(self) -> None:
        """Delete requests to an earlier driver."""
        for request in (self.cancel_request, self.pause_request):
            request.unlink(missing_ok=True)

    def reopen(self, token: str = "") -> None:
        """Reset an ended run so that it can continue: its progress stays, its outcome is cleared."""
        self.clear_requests()
        self.write_progress(replace(self.progress(), phase=Progress.phase, seconds_left=0.0))
        self.write_status(replace(self.status().for_next_driver(), reopened=token))

    def progress(self) -> Progress:
        """Read the progress."""
        return Progress(**known_fields(Progress, read_json(self.progress_file)))

    def write_progress(self, progress: Progress) -> None:
        """Write the progress."""
        write_json(self.progress_file, asdict(progress), sync=False)  # written several times a second during training

    def hold_lease(self, pid: int) -> int:
        """Take the driver's lease and return its open file, which may be passed to another process.

        The lease ends when the last process that has the file open ends, in whatever way.

        Args:
            pid: of the driver, for `cancel`.

        Raises:
            BlockingIOError: another driver holds the lease.

        """
        return take_lease(self.lease, pid)

    def has_driver(self) -> bool:
        """Return whether a living driver holds the lease."""
        return self.driver_pid() is not None

    def driver_pid(self) -> int | None:
        """Return the process id of the lease's holder; None without one. A trial has its sweep's driver."""
        if self.sweep:
            return self.sweep.driver_pid()
        return lease_holder(self.lease)

    def record(self) -> RunRecord:
        """Derive the run's state from its status and the driver's lease; nothing else derives it.

        For a run on a cluster, only the status counts, which its cluster updates.
        """
        status, header = self.status(), self.header()
        if not header.cluster and not status.state.ended and not self.has_driver():
            status = self.status()  # it may have ended in between
            if not status.state.ended:
                whole = (self.sweep or self).path.name
                message = status.message or f"its driver is gone; `stoker resume {whole}` continues it"
                status = RunStatus(**{**asdict(status), "state": State.INTERRUPTED, "message": message})
        return RunRecord(header, status, self.path)


def follow_lines(path: Path, position: int = 0) -> Iterator[tuple[str, int]]:
    """Read the whole lines of a growing file from a byte position on, each with the position after it."""
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(position)
        for line in file:
            if not line.endswith(b"\n"):
                return  # incomplete: its writer is not done
            position += len(line)
            yield line.decode("utf-8", errors="replace").rstrip("\r\n"), position


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; empty for a missing or incomplete file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(path: Path, content: dict[str, Any], sync: bool = True) -> None:
    """Replace a file by a JSON object."""
    replace_file(path, json.dumps(content), sync)
