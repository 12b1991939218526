"""The stores of a sweep's trials, for a driver that shares no disk with them and may lose its folder at any time.

The record of a trial is stored before the driver acts on its start or end. A trial stores its model before it reports
its end.
"""

import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from stoker.errors import StokerError
from stoker.execution.run_store import RESOLVED, RunStore
from stoker.execution.worker_folder import FolderReplica, FolderUpdate
from stoker.tracking.run_folder import RunFolder

RESTORE_THREADS = 16


class TrialStores:
    """The driver's side of the trials' stores.

    Args:
        sweep: the store of the sweep itself.

    """

    def __init__(self, sweep: RunStore) -> None:
        self._sweep = sweep
        self._replicas: dict[int, FolderReplica] = {}
        """Replicas of the trials that train; a restarted trial repeats journal entries, which are skipped."""
        self._unsaved: set[int] = set()
        """Ended trials whose records are not stored yet."""

    def apply(self, number: int, update: FolderUpdate) -> None:
        """Merge an update of a trial into its folder."""
        if number not in self._replicas:
            self._replicas[number] = FolderReplica(self._folder(number))
        self._replicas[number].apply(update)

    def end(self, number: int) -> None:
        """Mark a trial as ended; `save` stores its record."""
        if replica := self._replicas.pop(number, None):
            replica.close()
        self._unsaved.add(number)

    def save(self) -> bool:
        """Store the records of ended trials and the ledger; return False if the storage fails."""
        try:
            for number in sorted(self._unsaved):
                RunStore(self._folder(number)).save_record()
                self._unsaved.discard(number)
        except StokerError:
            traceback.print_exc()
            return False
        return self._sweep.save_ledger()

    def restore(self, numbers: list[int]) -> None:
        """Restore the records of ended trials whose folders an earlier driver has lost."""
        missing = [number for number in numbers if not self._folder(number).journal.exists()]
        with ThreadPoolExecutor(RESTORE_THREADS) as pool:
            list(pool.map(self._restore, missing))

    def fetch_results(self, number: int) -> None:
        """Fetch the model of a succeeded trial, unless it is in the folder.

        Raises:
            StorageError: the storage still fails after some minutes.

        """
        folder = self._folder(number)
        if not folder.model.exists():
            RunStore(folder).fetch_results()

    def _restore(self, number: int) -> None:
        store = RunStore(self._folder(number))
        with suppress(StokerError):  # then it is in MLflow, or lost
            store.restore_journal()
        with suppress(StokerError):
            store.folder.resolved.write_bytes(store.storage.get(RESOLVED))

    def _folder(self, number: int) -> RunFolder:
        return self._sweep.folder.trial(number)
