"""Checkpoints: the whole training state, written atomically in the background.

checkpoints/
  journal/attempt-0001.jsonl           the record up to this attempt, if its own folder may be lost
  attempts/0001                        an attempt that was started; only the newest one may commit
  step-000000000120-epoch-000006-attempt-0001/
    rank-0.safetensors, rank-0.json    tensors by qualified name, and the rest; one pair per worker
    rank-1.failed                      the cause if a worker cannot write its pair, so that the first stops waiting
    manifest.json                      sizes and checksums; written last: it commits the checkpoint
"""

import hashlib
import json
import sys
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor

from stoker.errors import Cause, Damaged, NotFound, StokerError, StorageError, TrainingFailed
from stoker.storage import Digest, Manifest, Storage, commit, committed, copy, read_file, read_manifest, remove
from stoker.training.snapshot import Snapshot, encode, reset_progress, restore, take
from stoker.training.state import TrainingState

FORMAT = 2
PARTS_TIMEOUT_S = 240.0
"""How long the first worker waits for the others' parts before it abandons a checkpoint; longer looks like a hang."""
ABANDON_TIMEOUT_S = 10.0
"""How long a failed attempt waits for its last checkpoint; the next attempt starts from what is written by then."""
POLL_S = 0.02
MAX_POLL_S = 0.5
FATAL = (Cause.DISK_FULL, Cause.STORAGE_AUTH)
"""Storage errors that waiting does not cure; after any other, training continues without this checkpoint."""


@dataclass(frozen=True)
class Restored:
    """Where training continues: at step 0 if no checkpoint could be used."""

    epoch: int
    step: int
    damaged: tuple[str, ...]
    """Errors of newer checkpoints, which were skipped."""


class Checkpoints:
    """The checkpoints of one run, as one of its workers sees them.

    Args:
        storage: where they are.
        folder: their key prefix; empty for the root of the storage.
        keep: how many of the newest ones are kept.
        attempt: number of this attempt, larger than those before it.

    """

    def __init__(self, storage: Storage, folder: str, keep: int, attempt: int) -> None:
        self._storage = storage
        self._prefix = f"{folder}/" if folder else ""
        self._folder = folder
        self._keep = keep
        self._attempt = attempt
        self._buffers: dict[str, Tensor] = {}
        self._attached: dict[str, bytes] = {}
        """Files that the first worker writes with its next checkpoint, by key."""
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._abandoned = threading.Event()
        self.newest = (0, 0)
        """Epoch and step of the newest checkpoint that this attempt has committed or started from."""

    def restore(self, state: TrainingState) -> Restored | None:
        """Restore a state from the newest undamaged checkpoint; None if there never was one.

        Every worker calls it; the first one chooses.

        Raises:
            TrainingFailed: the checkpoint was trained on other data.

        """
        workers = state.assembly.workers
        choice: tuple[str, tuple[str, ...]] = workers.broadcast_object(self._choose() if workers.rank == 0 else None)
        chosen, damaged = choice
        if chosen:
            self._load(state, chosen)
            self.newest = (state.epoch, state.step)
        return Restored(state.epoch, state.step, damaged) if chosen or damaged else None

    def claim(self) -> None:
        """Make this attempt the only one that may commit; the first worker calls it before training."""
        self._storage.put(f"{self._prefix}attempts/{self._attempt:04d}", [b"begun"])

    def adopt(self, storage: Storage, folder: str) -> None:
        """Replace all checkpoints by a copy of another run's; called after `claim`, before training.

        Args:
            storage: where the other checkpoint is.
            folder: its key there.

        Raises:
            Damaged: it does not match its manifest, or is missing.

        """
        place = folder.rpartition("/")[2].rpartition("-attempt-")[0]
        own = f"{self._prefix}{place}-attempt-{self._attempt:04d}"
        copy(storage, folder, self._storage, own)
        for other in self._folders() - {own}:
            remove(self._storage, other)

    def continue_from(self, state: TrainingState) -> None:
        """Restore a state from the last checkpoint of a finished run, and continue its training as a new run.

        Raises:
            TrainingFailed: the checkpoint of that run's end is gone or damaged.

        """
        restored = self.restore(state)
        if restored is None or not state.reason:
            why = "; ".join(restored.damaged) if restored and restored.damaged else "it no longer exists"
            message = f"no checkpoint holds the end of the run to continue: {why}"
            cure = "start from its best weights instead: training.start_from: run:ID"
            raise TrainingFailed(Cause.BAD_DATA, f"{message}; {cure}")
        reset_progress(state)
        self.newest = (0, 0)

    @property
    def busy(self) -> bool:
        """Whether a checkpoint is still being written."""
        return self._thread is not None and self._thread.is_alive()

    def save(self, state: TrainingState) -> None:
        """Copy the state and write it in the background, after the previous checkpoint is written.

        Raises:
            TrainingFailed: the previous one could not be written, and no later one can be.

        """
        self.finish()
        snapshot = take(state, self._buffers)
        workers = state.assembly.workers
        arguments = (snapshot, workers.rank, workers.count, self._attached)
        self._attached = {}
        self._thread = threading.Thread(target=self._write, args=arguments, name="checkpoint")
        self._thread.start()

    def abandon(self) -> None:
        """Abandon writing after a failure: wait briefly for this worker's part, but not for the parts of others."""
        self._abandoned.set()
        if self._thread is not None:
            self._thread.join(ABANDON_TIMEOUT_S)

    def attach(self, key: str, content: bytes) -> None:
        """Store a file beside the checkpoints, before the next one is committed."""
        self._attached[key] = content

    def finish(self) -> None:
        """Wait until the last checkpoint is written.

        Raises:
            TrainingFailed: it could not be written, and no later one can be.

        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if isinstance(error, StorageError) and error.cause in FATAL:
            raise TrainingFailed(error.cause, f"no checkpoint can be written: {error}") from error

    def _write(self, snapshot: Snapshot, rank: int, count: int, attached: dict[str, bytes]) -> None:
        """Write this worker's part; the first worker also waits for the others' and commits."""
        place = f"step-{snapshot.step:012d}-epoch-{snapshot.epoch:06d}"
        folder = f"{self._prefix}{place}-attempt-{self._attempt:04d}"
        try:
            for key, content in attached.items():
                self._storage.put(f"{self._prefix}{key}", [content])
            files = {f"rank-{rank}.safetensors": encode(snapshot.tensors)}
            digests = {name: self._storage.put(f"{folder}/{name}", chunks) for name, chunks in files.items()}
            facts = {
                "facts": snapshot.facts,
                "files": {name: [digest.size, digest.sha256] for name, digest in digests.items()},
            }
            content = json.dumps(facts).encode()
            digests[f"rank-{rank}.json"] = self._storage.put(f"{folder}/rank-{rank}.json", [content])
            if rank == 0:
                for peer in range(1, count):
                    digests |= self._wait_for_part(folder, peer)
                self._commit(folder, digests, snapshot, count)
        except Exception as error:  # raised at the next checkpoint, if there is one
            self._error = error
            if self._abandoned.is_set():
                return
            traceback.print_exc()
            if rank > 0:
                cause = error.cause if isinstance(error, StorageError) else Cause.INTERNAL
                with suppress(StokerError):  # then the first worker waits in vain
                    self._storage.put(f"{folder}/rank-{rank}.failed", [cause.encode()])

    def _wait_for_part(self, folder: str, peer: int) -> dict[str, Digest]:
        """Wait for another worker's part and return its digests.

        Raises:
            StorageError: the worker could not write its part, or not in time.

        """
        deadline, wait_s = time.monotonic() + PARTS_TIMEOUT_S, POLL_S
        name = f"rank-{peer}.json"
        while (content := self._find(f"{folder}/{name}")) is None:
            if (cause := self._find(f"{folder}/rank-{peer}.failed")) is not None:
                raise StorageError(Cause(cause.decode()), f"worker {peer} could not write its part of {folder}")
            if self._abandoned.wait(wait_s) or time.monotonic() > deadline:
                raise StorageError(Cause.INFRASTRUCTURE, f"worker {peer} has not written its part of {folder}")
            wait_s = min(1.5 * wait_s, MAX_POLL_S)
        files = {other: Digest(size, sha256) for other, (size, sha256) in json.loads(content)["files"].items()}
        return {**files, name: Digest(len(content), hashlib.sha256(content).hexdigest())}

    def _find(self, key: str) -> bytes | None:
        try:
            return self._storage.get(key)
        except NotFound:
            return None

    def _overtaken(self, folder: str) -> bool:
        """Return whether a later attempt trains this run."""
        begun = self._storage.keys(f"{self._prefix}attempts")
        if not begun or int(begun[-1].rsplit("/", 1)[1]) <= self._attempt:
            return False
        print(f"abandoned checkpoint {folder}: a later attempt trains this run", file=sys.stderr)  # noqa: T201 - the log
        return True

    def _commit(self, folder: str, digests: dict[str, Digest], snapshot: Snapshot, count: int) -> None:
        if self._overtaken(folder):
            return
        facts = {
            "format": FORMAT,
            "epoch": snapshot.epoch,
            "step": snapshot.step,
            "attempt": self._attempt,
            "workers": count,
            "torch": torch.__version__,
        }
        commit(self._storage, folder, digests, facts)
        self.newest = (snapshot.epoch, snapshot.step)
        if not self._overtaken(folder):  # the later attempt may have started from an older checkpoint
            self._remove_old(folder)

    def _remove_old(self, newest: str) -> None:
        """Remove all but the newest checkpoints, with older ones that were never committed."""
        whole = [folder for folder in committed(self._storage, self._folder) if "attempts" not in folder]
        kept = {newest, *sorted(whole)[-self._keep :]}
        for folder in sorted(self._folders() - kept):
            if folder < newest:
                remove(self._storage, folder)

    def _folders(self) -> set[str]:
        """Return the folders of all checkpoints, including those never committed."""
        folders = {key.rsplit("/", 1)[0] for key in self._storage.keys(self._folder)}
        return {folder for folder in folders if folder.removeprefix(self._prefix).startswith("step-")}

    def _choose(self) -> tuple[str, tuple[str, ...]]:
        """Return the newest checkpoint whose checksums match, and the errors of newer ones."""
        damaged: list[str] = []
        for folder in sorted(committed(self._storage, self._folder), reverse=True):
            try:
                manifest = self._read(folder)
                for name in manifest.files:
                    read_file(self._storage, folder, manifest, name)
            except Damaged as error:
                damaged.append(str(error))
            else:
                return folder, tuple(damaged)
        return "", tuple(damaged)

    def _read(self, folder: str) -> Manifest:
        manifest = read_manifest(self._storage, folder)
        if manifest.facts["format"] != FORMAT:
            message = f"checkpoint {folder} has format {manifest.facts['format']}, this version reads {FORMAT}"
            raise TrainingFailed(Cause.BAD_DATA, f"{message}; resume it with the version that wrote it")
        return manifest

    def _load(self, state: TrainingState, folder: str) -> None:
        """Restore the state from the parts of all workers."""
        manifest = self._read(folder)
        count = int(manifest.facts["workers"])
        parts: list[dict[str, Tensor]] = []
        facts: list[dict[str, Any]] = []
        for rank in range(count):
            parts.append(load(read_file(self._storage, folder, manifest, f"rank-{rank}.safetensors")))
            facts.append(json.loads(read_file(self._storage, folder, manifest, f"rank-{rank}.json"))["facts"])
        restore(state, parts, facts)
