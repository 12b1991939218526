"""Trials whose driver shares no disk with them: what they leave lies in the storage of their checkpoints.

Such a driver's folder goes with its pod at any moment. Before anything is done because a trial was chosen or has ended,
the storage has it; a model goes there before its trial says that it has ended, and from there to whoever needs it.
"""

import shutil
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from stoker.errors import StokerError
from stoker.execution.durable import JOURNAL, RESOLVED, Durable, storage_of
from stoker.execution.mirror import News, fetch_results, pack, results_of, take_news, write_files
from stoker.execution.recording import PATIENCE_S, RETRY_S
from stoker.job.job import Job
from stoker.jobfile.loading import dump_job, parse_job
from stoker.storage import Storage
from stoker.tracking.journal import Journal, read_entries
from stoker.tracking.run_folder import RunFolder

if TYPE_CHECKING:
    from stoker.execution.sweeps.sharing import SharedDataset

WHOLE_JOURNAL = f"{JOURNAL}/end.jsonl"
"""The journal of a trial that is over; it sorts behind those of its attempts."""
RECORD = (JOURNAL, RESOLVED)
"""What stays of a trial whose model and checkpoints are deleted."""
AT_ONCE = 16
"""Trials whose records are fetched at the same time."""


class Afar:
    """The driver's side of such trials.

    Args:
        sweep: its folder.
        durable: what of it outlives the folder.

    """

    def __init__(self, sweep: RunFolder, durable: Durable) -> None:
        self._sweep = sweep
        self._header = sweep.header()
        self._durable = durable
        self._journals: dict[int, Journal] = {}
        """Of the trials that train; a trial that goes on repeats what it has told, and no value is taken twice."""
        self._unkept: set[int] = set()
        """Trials that are over, of which the storage does not have the record yet."""

    def take(self, number: int, news: News) -> None:
        """Bring a trial's folder up to what has become of it where it trains."""
        folder = self._sweep.trial(number)
        if news.journal:
            if number not in self._journals:
                self._journals[number] = Journal(folder.journal)
            for entry in read_entries(news.journal):
                self._journals[number].append(entry.step, entry.epoch, entry.metrics, entry.time_ms)
            self._journals[number].flush()
        take_news(folder, replace(news, journal=b""))

    def end(self, number: int) -> None:
        """Hear that a trial is over; `secure` keeps its record."""
        if journal := self._journals.pop(number, None):
            journal.close()
        self._unkept.add(number)

    def secure(self) -> bool:
        """Keep what there is to know of the trials by now; False where the storage does not take it."""
        try:
            for number in sorted(self._unkept):
                self._keep(number)
                self._unkept.discard(number)
        except StokerError:
            traceback.print_exc()
            return False
        return self._durable.secure()

    def recall(self, numbers: list[int]) -> None:
        """Bring back the records of trials that are over, where an earlier driver's folder is lost."""
        missing = [number for number in numbers if not self._sweep.trial(number).journal.exists()]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._recall, missing))

    def fetch(self, number: int) -> None:
        """Bring home the model of a trial that has succeeded.

        Raises:
            StokerError: the storage does not answer, again and again.

        """
        folder, deadline = self._sweep.trial(number), time.monotonic() + PATIENCE_S
        while not folder.model.exists():
            try:
                fetch_results(folder, self._storage(number))
                return
            except StokerError:
                shutil.rmtree(folder.model, ignore_errors=True)
                if time.monotonic() > deadline:
                    raise
            time.sleep(RETRY_S)

    def draw(self, number: int, job: Job, data: "ray.ObjectRef[Any]", gpus: float) -> None:
        """Let a trial's results be drawn where trials train: the driver's own machine may be too small for it.

        Raises:
            ray.exceptions.RayError: who draws has died.

        """
        folder = self._sweep.trial(number)
        task = ray.remote(draw_there).options(num_cpus=1, num_gpus=gpus)
        drawn = ray.get(task.remote(pack(folder), folder.path.name, dump_job(job), data))
        write_files(folder.path, drawn)

    def _keep(self, number: int) -> None:
        folder, storage = self._sweep.trial(number), self._storage(number)
        for key, path in ((WHOLE_JOURNAL, folder.journal), (RESOLVED, folder.resolved)):
            if path.exists():
                storage.put(key, [path.read_bytes()])

    def _recall(self, number: int) -> None:
        folder, storage = self._sweep.trial(number), self._storage(number)
        with suppress(StokerError):  # what is not there is in MLflow, or nowhere
            Durable(folder, storage).recall_journal()
        with suppress(StokerError):
            folder.resolved.write_bytes(storage.get(RESOLVED))

    def _storage(self, number: int) -> Storage:
        return storage_of(self._sweep, self._header, self._sweep.trial(number).path.name)


def draw_there(files: dict[str, bytes], trial: str, job_text: str, data: "SharedDataset") -> dict[str, bytes]:
    """Draw a trial's results; runs in a process of its own, as a task of Ray.

    Args:
        files: what the driver has in the trial's folder, by path below it.
        trial: its id.
        job_text: the sweep's job.
        data: of that job.

    Returns:
        The pictures and tables, by path below the trial's folder.

    """
    from stoker.execution.sweeps.results import draw_trial_results
    from stoker.secret_files import load_secret_files

    load_secret_files()
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder(Path(place) / trial)
        write_files(folder.path, files)
        header = folder.header()
        fetch_results(folder, storage_of(folder, header, header.id))
        draw_trial_results(folder, parse_job(job_text, "job.yaml").job, data)
        drawn = [name for name in results_of(folder) if (folder.path / name).is_relative_to(folder.artifacts)]
        return {name: (folder.path / name).read_bytes() for name in drawn}
