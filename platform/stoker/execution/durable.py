"""What of a run outlives its folder: journal, resolved file, state, a sweep's ledger; in the storage of checkpoints.

On a cluster the folder goes with the pod that it is in; the next driver makes it again from here.
"""

import json
import threading
import time
import traceback
from dataclasses import asdict
from pathlib import Path

from stoker.errors import NotFound, StokerError
from stoker.storage import Storage, open_storage
from stoker.tracking.journal import Journal, read_entries
from stoker.tracking.run import RunHeader, RunStatus, status_from
from stoker.tracking.run_folder import RunFolder

STATE = "state.json"
RESOLVED = "resolved.yaml"
JOURNAL = "journal"
LEDGER = "ledger"
"""Below it is a sweep's ledger in parts, each named by the byte with which it begins."""
MORE_TRIALS = "more_trials"
FACTS = "sweep.json"
PART_BYTES = 1 << 20
"""What has grown so long is not put again; the next part begins."""
LOOK_EVERY_S = 1.0
LAST_WORD_S = 60.0
"""A run that is over waits so long for a storage that is down."""


def storage_of(folder: RunFolder, header: RunHeader, run: str) -> Storage:
    """Open what keeps a run's checkpoints.

    Args:
        folder: of a run that knows where.
        header: of that run.
        run: the id of this run, or of another one beside it.

    """
    if header.storage:
        return open_storage(f"{header.storage.rstrip('/')}/{run}")
    return open_storage(str(folder.beside(run).checkpoints))


def journal_key(attempt: int) -> str:
    """Name what an attempt brought of the journal."""
    return f"{JOURNAL}/attempt-{attempt:04d}.jsonl"


class Durable:
    """The lasting part of one run.

    State and resolved file follow those of the folder, from a thread of its own: a storage that is slow or down is
    waited for by nobody before the end.

    Args:
        folder: of the run.
        storage: of its checkpoints.

    """

    def __init__(self, folder: RunFolder, storage: Storage) -> None:
        self._folder = folder
        self._storage = storage
        self._kept: dict[str, bytes] = {}
        self._part, self._there = 0, 0
        """Where the ledger's last part begins, and how many bytes of it are kept, or unknown."""
        self._putting = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="durable", daemon=True)

    def recall(self) -> RunStatus | None:
        """Bring back to a new folder what it lacks; return the state, None for a run without a past."""
        for key, path in self._files().items():
            if not path.exists() and (kept := self._read(key)):
                path.write_bytes(kept)
        parts = self._storage.keys(LEDGER)
        if parts and not self._folder.ledger.exists():
            self._folder.ledger.write_bytes(b"".join(self._storage.get(key) for key in parts))
        self._part = int(parts[-1].rpartition("/")[2]) if parts else 0
        content = self._read(STATE)
        if not content:
            return None
        status = status_from(json.loads(content))
        self._folder.write_status(status)
        return status

    def recall_journal(self) -> None:
        """Bring the journal to at least where the newest checkpoint has it; what is there stays as it is."""
        keys = self._storage.keys(JOURNAL)
        if not keys:
            return
        journal = Journal(self._folder.journal)
        for key in keys:
            for entry in read_entries(self._storage.get(key)):
                journal.append(entry.step, entry.epoch, entry.metrics, entry.time_ms)
        journal.close()

    def secure(self) -> bool:
        """Keep the ledger as it is now, for what is about to be done because of it; False where that fails."""
        try:
            self._keep_ledger()
        except StokerError:
            traceback.print_exc()
            return False
        return True

    def start(self) -> None:
        """Follow the folder from now on."""
        self._thread.start()

    def close(self) -> bool:
        """Keep the last word; False where the storage did not take it."""
        self._over.set()
        self._thread.join()
        deadline = time.monotonic() + LAST_WORD_S
        while not self._keep():
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_EVERY_S)
        return True

    def _follow(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            self._keep()

    def _files(self) -> dict[str, Path]:
        """Name what is kept as it is in the folder, by its key."""
        folder = self._folder
        return {RESOLVED: folder.resolved, MORE_TRIALS: folder.path / MORE_TRIALS, FACTS: folder.facts}

    def _keep(self) -> bool:
        """Put what has changed."""
        now = {STATE: json.dumps(asdict(self._folder.status())).encode()}
        files = self._files()
        if self._folder.ledger.exists():
            files[journal_key(1)] = self._folder.journal  # a sweep has no worker to bring it
        now |= {key: path.read_bytes() for key, path in files.items() if path.exists()}
        try:
            self._keep_ledger()
            for key, content in now.items():
                if self._kept.get(key) != content:
                    self._storage.put(key, [content])
                    self._kept[key] = content
        except StokerError:
            traceback.print_exc()
            return False
        return True

    def _keep_ledger(self) -> None:
        """Put the ledger's last part, where it has grown; whole lines alone."""
        with self._putting:
            if not self._folder.ledger.exists():
                return
            with self._folder.ledger.open("rb") as file:
                file.seek(self._part)
                content = file.read()
            content = content[: content.rfind(b"\n") + 1]
            if len(content) <= self._there:
                return
            self._storage.put(f"{LEDGER}/{self._part:015d}", [content])
            self._there = len(content)
            if self._there >= PART_BYTES:
                self._part, self._there = self._part + self._there, 0

    def _read(self, key: str) -> bytes:
        try:
            return self._storage.get(key)
        except NotFound:
            return b""
