"""Storage of a run's files beside its checkpoints, and their restoration on another machine.

On a cluster the run's folder is lost with its pod. The store keeps the record (state, resolved job, journal, pictures,
a sweep's ledger), from which the next driver restores the folder, and the results (model, artifacts), which the worker
that made them stores and the driver fetches.
"""

import json
import shutil
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from stoker.atomic_files import replace_file
from stoker.errors import Cause, NotFound, StokerError, StorageError
from stoker.execution.worker_result import WorkerResult
from stoker.storage import Storage, open_storage
from stoker.tracking.journal import Journal, read_entries
from stoker.tracking.run import RunHeader, RunStatus, status_from
from stoker.tracking.run_folder import RunFolder

STATE = "state.json"
RESOLVED = "resolved.yaml"
JOURNAL = "journal"
"""Prefix of the journal's objects, one per attempt."""
FINAL_JOURNAL = f"{JOURNAL}/end.jsonl"
"""The whole journal of an ended trial; it sorts after those of its attempts."""
LEDGER = "ledger"
"""Prefix of a sweep's ledger, stored in parts; each part is named by its first byte's position."""
RESULTS = "results"
"""Prefix of the model and the artifacts, stored in pieces, one object each."""
RECORD = (JOURNAL, RESOLVED)
"""Prefixes that remain of a trial whose model and checkpoints are deleted."""

LEDGER_PART_BYTES = 1 << 20
"""A ledger part of this size is complete; later entries go to the next one."""
PIECE_BYTES = 16 << 20
"""Results are copied in pieces of this size, so that a model is never held in memory twice."""
SYNC_EVERY_S = 1.0
CLOSE_TIMEOUT_S = 60.0
"""How long `close` waits for a storage that is down."""
FETCH_TIMEOUT_S = 180.0
FETCH_RETRY_S = 2.0


def run_storage(folder: RunFolder, header: RunHeader, run: str) -> Storage:
    """Open the storage of a run's checkpoints.

    Args:
        folder: of a run whose header names the storage.
        header: of that run.
        run: id of this run, or of another one stored beside it.

    """
    if header.storage:
        return open_storage(f"{header.storage.rstrip('/')}/{run}")
    return open_storage(str(folder.beside(run).checkpoints))


def journal_key(attempt: int) -> str:
    """Return the key under which an attempt stores the journal."""
    return f"{JOURNAL}/attempt-{attempt:04d}.jsonl"


class RunStore:
    """Keeps one run's files in its storage and restores them from there.

    After `start`, a background thread copies state and resolved job, so that only `close` waits for a slow storage.

    Args:
        folder: of the run.
        storage: of its checkpoints; default: the one that the run's header names.

    """

    def __init__(self, folder: RunFolder, storage: Storage | None = None) -> None:
        self.folder = folder
        if storage is None:
            header = folder.header()
            storage = run_storage(folder, header, header.id)
        self.storage = storage
        self._stored: dict[str, bytes] = {}
        self._part, self._part_bytes = 0, 0
        """Start of the ledger's last part, and how many bytes of it are stored."""
        self._ledger_lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="run-store", daemon=True)

    def restore(self) -> RunStatus | None:
        """Restore the files that the folder lacks, and return the stored status; None for a new run."""
        for key, path in self._files().items():
            if not path.exists() and (content := self._get(key)):
                path.write_bytes(content)
        parts = self.storage.keys(LEDGER)
        if parts and not self.folder.ledger.exists():
            self.folder.ledger.write_bytes(b"".join(self.storage.get(key) for key in parts))
        self._part = int(parts[-1].rpartition("/")[2]) if parts else 0
        content = self._get(STATE)
        if not content:
            return None
        status = status_from(json.loads(content))
        self.folder.write_status(status)
        return status

    def restore_journal(self) -> None:
        """Append the stored entries that the journal lacks, with their pictures; they reach the newest checkpoint."""
        keys = self.storage.keys(JOURNAL)
        if not keys:
            return
        journal = Journal(self.folder.journal)
        for key in keys:
            for entry in read_entries(self.storage.get(key)):
                if entry.picture:
                    self._restore_picture(entry.picture)
                journal.copy(entry)
        journal.close()

    def _restore_picture(self, name: str) -> None:
        path = self.folder.path / name
        if not path.exists() and (content := self._get(name)):
            path.parent.mkdir(exist_ok=True)
            replace_file(path, content)

    def start(self) -> None:
        """Start to copy changes of the folder."""
        self._thread.start()

    def close(self) -> bool:
        """Copy the last changes; return False if the storage did not accept them."""
        self._closing.set()
        self._thread.join()
        deadline = time.monotonic() + CLOSE_TIMEOUT_S
        while not self._sync():
            if time.monotonic() > deadline:
                return False
            time.sleep(SYNC_EVERY_S)
        return True

    def save_ledger(self) -> bool:
        """Store the ledger before its latest entry takes effect; return False if that fails."""
        try:
            self._put_ledger()
        except StokerError:
            traceback.print_exc()
            return False
        return True

    def save_record(self) -> None:
        """Store the journal and the resolved job of an ended trial.

        Raises:
            StorageError: the storage refuses.

        """
        for key, path in ((FINAL_JOURNAL, self.folder.journal), (RESOLVED, self.folder.resolved)):
            if path.exists():
                self.storage.put(key, [path.read_bytes()])

    def save_results(self) -> None:
        """Store the model and the artifacts, replacing earlier ones.

        Raises:
            StorageError: the storage refuses.

        """
        self.storage.clear(RESULTS)
        for name in result_files(self.folder):
            path = self.folder.path / name
            for start in range(0, max(path.stat().st_size, 1), PIECE_BYTES):  # an empty file has one empty piece
                self.storage.put(f"{RESULTS}/{name}/{start:015d}", [_piece(path, start)])

    def fetch_results(self) -> None:
        """Copy the stored model and artifacts to the folder; retried while the storage is down.

        Raises:
            StorageError: the storage still fails after `FETCH_TIMEOUT_S`.

        """
        deadline = time.monotonic() + FETCH_TIMEOUT_S
        while True:
            try:
                return self._fetch_results()
            except StokerError:
                shutil.rmtree(self.folder.model, ignore_errors=True)
                if time.monotonic() > deadline:
                    raise
            time.sleep(FETCH_RETRY_S)

    def delete_results(self) -> None:
        """Delete the stored model and artifacts.

        Raises:
            StorageError: the storage refuses.

        """
        self.storage.clear(RESULTS)

    def _fetch_results(self) -> None:
        for key in self.storage.keys(RESULTS):
            name, _, start = key.removeprefix(f"{RESULTS}/").rpartition("/")
            path = self.folder.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab" if int(start) else "wb") as file:
                file.write(self.storage.get(key))

    def _run(self) -> None:
        while not self._closing.wait(SYNC_EVERY_S):
            self._sync()

    def _files(self) -> dict[str, Path]:
        """Return the files that are stored unchanged, by key."""
        folder = self.folder
        return {path.name: path for path in (folder.resolved, folder.more_trials_file, folder.facts)}

    def _sync(self) -> bool:
        """Store all changes; return False if the storage fails."""
        changed = {STATE: json.dumps(asdict(self.folder.status())).encode()}
        files = self._files()
        if self.folder.ledger.exists():
            files[journal_key(1)] = self.folder.journal  # a sweep has no worker that stores it
        changed |= {key: path.read_bytes() for key, path in files.items() if path.exists()}
        try:
            self._put_ledger()
            for key, content in changed.items():
                if self._stored.get(key) != content:
                    self.storage.put(key, [content])
                    self._stored[key] = content
        except StokerError:
            traceback.print_exc()
            return False
        return True

    def _put_ledger(self) -> None:
        """Store the whole lines of the ledger's last part, if it has grown."""
        with self._ledger_lock:
            if not self.folder.ledger.exists():
                return
            with self.folder.ledger.open("rb") as file:
                file.seek(self._part)
                content = file.read()
            content = content[: content.rfind(b"\n") + 1]
            if len(content) <= self._part_bytes:
                return
            self.storage.put(f"{LEDGER}/{self._part:015d}", [content])
            self._part_bytes = len(content)
            if self._part_bytes >= LEDGER_PART_BYTES:
                self._part, self._part_bytes = self._part + self._part_bytes, 0

    def _get(self, key: str) -> bytes:
        try:
            return self.storage.get(key)
        except NotFound:
            return b""


def with_saved_results(result: WorkerResult, store: RunStore) -> WorkerResult:
    """Store the results of a successful worker; return its result, or a failure if the storage refuses."""
    if result.outcome != "succeeded":
        return result
    try:
        store.save_results()
    except StokerError as error:
        return result.failed(storage_cause(error), f"the model cannot be stored: {error}")
    return result


def storage_cause(error: StokerError) -> Cause:
    """Return the cause of a failed run whose storage raised an error."""
    return error.cause if isinstance(error, StorageError) else Cause.INFRASTRUCTURE


def result_files(folder: RunFolder) -> list[str]:
    """List the files of the model and the artifacts, relative to the folder."""
    return [str(path.relative_to(folder.path)) for path in _walk(folder.model, folder.artifacts)]


def _walk(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in folder.rglob("*") if path.is_file())


def _piece(path: Path, start: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(PIECE_BYTES)
