"""Checkpoints: all of a training state, written behind training's back, and found whole or not at all.

checkpoints/
  journal/attempt-0001.jsonl           the record as far as that attempt brought it, where it may lose its own folder
  attempts/0001                        an attempt that was begun; the newest one alone may commit
  step-000000000120-epoch-000006-attempt-0001/
    rank-0.safetensors, rank-0.json    tensors by qualified name, and the rest; one pair a worker
    rank-1.failed                      the cause why a worker cannot write its pair, so that nobody waits for it
    manifest.json                      sizes and checksums; written last, it makes the checkpoint exist
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
from stoker.training.loop import TrainingState
from stoker.training.snapshot import Snapshot, begin_anew, encode, restore, take

FORMAT = 2
PEERS_S = 240.0
"""A checkpoint that a worker has not finished so long after the first one is given up: later it looks like a hang."""
SETTLE_S = 10.0
"""The next attempt of this process goes on from what is written by then."""
POLL_S = 0.02
LONGEST_POLL_S = 0.5
FATAL = (Cause.DISK_FULL, Cause.STORAGE_AUTH)
"""What will not heal by waiting; after any other trouble with the storage training goes on without this checkpoint."""


@dataclass(frozen=True)
class Restored:
    """Where training goes on; at step 0 where no checkpoint could be used."""

    epoch: int
    step: int
    damaged: tuple[str, ...]
    """What is wrong with newer checkpoints, which were passed over."""


class Checkpoints:
    """The checkpoints of one run, as one of its workers sees them.

    Args:
        storage: where they are.
        folder: the key below which they are; empty for the storage itself.
        keep: how many of the newest ones stay.
        attempt: number of this attempt, larger than those before it.

    """

    def __init__(self, storage: Storage, folder: str, keep: int, attempt: int) -> None:
        self._storage = storage
        self._prefix = f"{folder}/" if folder else ""
        self._folder = folder
        self._keep = keep
        self._attempt = attempt
        self._buffers: dict[str, Tensor] = {}
        self._beside: dict[str, bytes] = {}
        """What the first worker's next checkpoint brings along, by key."""
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._abandoned = threading.Event()
        self.newest = (0, 0)
        """Epoch and step of the newest checkpoint that this attempt has committed or begun with."""

    def restore(self, state: TrainingState) -> Restored | None:
        """Bring a state to the newest checkpoint that is not damaged; None where there never was one.

        Every worker calls it; the first one chooses.

        Raises:
            TrainingFailed: the checkpoint is of other data.

        """
        workers = state.assembly.workers
        choice: tuple[str, tuple[str, ...]] = workers.from_first(self._choose() if workers.rank == 0 else None)
        chosen, damaged = choice
        if chosen:
            self._load(state, chosen)
            self.newest = (state.epoch, state.step)
        return Restored(state.epoch, state.step, damaged) if chosen or damaged else None

    def claim(self) -> None:
        """Make this attempt the only one that may commit; called by the first worker, before training."""
        self._storage.put(f"{self._prefix}attempts/{self._attempt:04d}", [b"begun"])

    def take_over(self, storage: Storage, folder: str) -> None:
        """Let a checkpoint of another run stand for all that there is; called after `claim`, before training.

        Args:
            storage: where it is.
            folder: its key there.

        Raises:
            Damaged: it is not what was written, or not there.

        """
        place = folder.rpartition("/")[2].rpartition("-attempt-")[0]
        own = f"{self._prefix}{place}-attempt-{self._attempt:04d}"
        copy(storage, folder, self._storage, own)
        for other in self._folders() - {own}:
            remove(self._storage, other)

    def begin_from(self, state: TrainingState) -> None:
        """Bring a state to the last checkpoint of another run, whose training goes on as a new one.

        Raises:
            TrainingFailed: what that run ended with is not there any more, or damaged.

        """
        restored = self.restore(state)
        if restored is None or not state.reason:
            why = "; ".join(restored.damaged) if restored and restored.damaged else "it is not there any more"
            message = f"no checkpoint holds the end of the run to go on from: {why}"
            cure = "begin with its best weights instead: training.start_from: run:ID"
            raise TrainingFailed(Cause.BAD_DATA, f"{message}; {cure}")
        begin_anew(state)
        self.newest = (0, 0)

    @property
    def busy(self) -> bool:
        """Whether a checkpoint is still being written."""
        return self._thread is not None and self._thread.is_alive()

    def save(self, state: TrainingState) -> None:
        """Copy the state and write it in the background; waits for the checkpoint before it, if that is not done.

        Raises:
            TrainingFailed: an earlier one could not be written, and the next one will not be either.

        """
        self.finish()
        snapshot = take(state, self._buffers)
        workers = state.assembly.workers
        work = (snapshot, workers.rank, workers.count, self._beside)
        self._beside = {}
        self._thread = threading.Thread(target=self._write, args=work, name="checkpoint")
        self._thread.start()

    def abandon(self) -> None:
        """End an attempt that has failed: what is nearly written is waited for a moment, the parts of others not."""
        self._abandoned.set()
        if self._thread is not None:
            self._thread.join(SETTLE_S)

    def bring(self, key: str, content: bytes) -> None:
        """Keep something with the checkpoints, which is there before the next one exists."""
        self._beside[key] = content

    def finish(self) -> None:
        """Wait until the last checkpoint is written.

        Raises:
            TrainingFailed: it could not be, and the next one will not be either.

        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if isinstance(error, StorageError) and error.cause in FATAL:
            raise TrainingFailed(error.cause, f"no checkpoint can be written: {error}") from error

    def _write(self, snapshot: Snapshot, rank: int, count: int, beside: dict[str, bytes]) -> None:
        """Write one worker's part; the first worker also waits for the others' and commits."""
        place = f"step-{snapshot.step:012d}-epoch-{snapshot.epoch:06d}"
        folder = f"{self._prefix}{place}-attempt-{self._attempt:04d}"
        try:
            for key, content in beside.items():
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
                    digests |= self._part_of(folder, peer)
                self._commit(folder, digests, snapshot, count)
        except Exception as error:  # told to training at its next checkpoint, or never
            self._error = error
            if self._abandoned.is_set():
                return
            traceback.print_exc()
            if rank > 0:
                cause = error.cause if isinstance(error, StorageError) else Cause.INTERNAL
                with suppress(StokerError):  # then the first worker waits in vain
                    self._storage.put(f"{folder}/rank-{rank}.failed", [cause.encode()])

    def _part_of(self, folder: str, peer: int) -> dict[str, Digest]:
        """Wait for another worker's part and return its digests.

        Raises:
            StorageError: it could not write its part, or does not come to its end.

        """
        deadline, wait_s = time.monotonic() + PEERS_S, POLL_S
        name = f"rank-{peer}.json"
        while (content := self._find(f"{folder}/{name}")) is None:
            if (cause := self._find(f"{folder}/rank-{peer}.failed")) is not None:
                raise StorageError(Cause(cause.decode()), f"worker {peer} could not write its part of {folder}")
            if self._abandoned.wait(wait_s) or time.monotonic() > deadline:
                raise StorageError(Cause.INFRASTRUCTURE, f"worker {peer} has not written its part of {folder}")
            wait_s = min(1.5 * wait_s, LONGEST_POLL_S)
        files = {other: Digest(size, sha256) for other, (size, sha256) in json.loads(content)["files"].items()}
        return {**files, name: Digest(len(content), hashlib.sha256(content).hexdigest())}

    def _find(self, key: str) -> bytes | None:
        try:
            return self._storage.get(key)
        except NotFound:
            return None

    def _overtaken(self, folder: str) -> bool:
        """Tell whether a later attempt trains this run."""
        begun = self._storage.keys(f"{self._prefix}attempts")
        if not begun or int(begun[-1].rsplit("/", 1)[1]) <= self._attempt:
            return False
        print(f"checkpoint {folder} is given up: a later attempt trains this run", file=sys.stderr)  # noqa: T201 - the log
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
        if not self._overtaken(folder):  # it may have begun with what is old to this one
            self._remove_old(folder)

    def _remove_old(self, newest: str) -> None:
        """Keep the newest ones; whatever is older, and was never finished, goes too."""
        whole = [folder for folder in committed(self._storage, self._folder) if "attempts" not in folder]
        kept = {newest, *sorted(whole)[-self._keep :]}
        for folder in sorted(self._folders() - kept):
            if folder < newest:
                remove(self._storage, folder)

    def _folders(self) -> set[str]:
        """Name the folders of all checkpoints, also of those that were never finished."""
        folders = {key.rsplit("/", 1)[0] for key in self._storage.keys(self._folder)}
        return {folder for folder in folders if folder.removeprefix(self._prefix).startswith("step-")}

    def _choose(self) -> tuple[str, tuple[str, ...]]:
        """Find the newest checkpoint of which every byte is as it was written."""
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
        """Read what this worker needs: the first worker's part, its own, and everybody's rows."""
        manifest = self._read(folder)
        count = int(manifest.facts["workers"])
        parts: list[dict[str, Tensor]] = []
        facts: list[dict[str, Any]] = []
        for rank in range(count):
            parts.append(load(read_file(self._storage, folder, manifest, f"rank-{rank}.safetensors")))
            facts.append(json.loads(read_file(self._storage, folder, manifest, f"rank-{rank}.json"))["facts"])
        restore(state, parts, facts)
