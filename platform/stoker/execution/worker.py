"""The process of a worker, as a Ray actor: trains, and answers the driver at the same time.

The driver imports this module before any large library, so that workers start early; the engine is imported in the
worker.
"""

import importlib
import os
import shutil
import socket
import sys
import threading
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import ray
from ray._private.ray_constants import LOG_PREFIX_ACTOR_NAME

from stoker.errors import Cause
from stoker.execution.contract import worker_name
from stoker.execution.heartbeat import STEP_FILE, Beat, Heartbeat, Stage
from stoker.execution.leaving import busy, is_leaving
from stoker.execution.machine import this_machine
from stoker.execution.packages import failure_here
from stoker.execution.run_store import RunStore, with_saved_results
from stoker.execution.worker_folder import FolderUpdate, folder_update, unpack
from stoker.execution.worker_result import WorkerResult
from stoker.secret_files import load_secret_files
from stoker.tracking.run_folder import RunFolder

if TYPE_CHECKING:
    from stoker.execution.data_cache import DataCache
    from stoker.execution.system_metrics.sampler import SystemSampler


class Worker:
    """A worker's process. It imports its libraries before it knows the run, and serves one attempt after another.

    `run` trains. `stop_waiting`, `address`, `request`, `beat`, `update` and `stack_traces` run concurrently in threads.

    Args:
        libraries: modules to import.

    """

    def __init__(self, libraries: Sequence[str]) -> None:
        self._libraries = libraries
        self._heartbeat = Heartbeat()
        self._cache: DataCache | None = None
        self._sampler: SystemSampler | None = None
        self._needed = threading.Event()
        self._own: RunFolder | None = None
        """The worker's own folder of the run, if it shares no disk with the driver."""

    def warm_up(self) -> None:
        """Import the libraries."""
        for module in self._libraries:
            importlib.import_module(module)

    def stand_by(self) -> None:
        """Import the libraries and wait until another worker dies."""
        self.warm_up()
        self._needed.wait()

    def stop_waiting(self) -> None:
        """End `stand_by`."""
        self._needed.set()

    def run(
        self,
        path: str,
        rank: int,
        count: int,
        address: str,
        attempt: int,
        files: dict[str, bytes] | None = None,
        place: int = 0,
    ) -> WorkerResult:
        """Train one rank of an attempt; failures are returned, not raised.

        Args:
            path: of the run's folder, on the driver's machine.
            rank: of this worker.
            count: number of workers.
            address: of the first worker; empty for one alone.
            attempt: counted from 1.
            files: content of the folder, if worker and driver share no disk.
            place: number that no other process of the run has, and that stays while ranks change.

        """
        from stoker.execution.data_cache import DataCache
        from stoker.execution.engines.engine import Assignment, run_to_end
        from stoker.execution.engines.table import engine_of
        from stoker.execution.system_metrics.sampler import system_sampler

        self._cache = self._cache or DataCache()
        folder = RunFolder(Path(path))
        if files is not None:
            load_secret_files()
            if failure := failure_here():
                return WorkerResult("failed", Cause.INTERNAL, f"worker {rank}: {failure}")
            folder = self._own = unpack(files, folder.path.name, str(place))
        for stream in (sys.stdout, sys.stderr):
            print(f"{LOG_PREFIX_ACTOR_NAME}{worker_name(rank, folder.header().id)}", file=stream, flush=True)
        self._heartbeat = Heartbeat(folder.path / STEP_FILE if rank == 0 else None)
        self._sampler = system_sampler(own_container=self._own is not None, work=self._heartbeat.work)
        try:
            assignment = Assignment(folder, rank, count, attempt)
            with busy():
                result = run_to_end(engine_of(assignment, self._heartbeat, self._cache), address)
            if rank == 0 and self._own is not None:
                self._heartbeat.enter(Stage.SAVING)
                result = with_saved_results(result, RunStore(folder))
            result = replace(result, machine=this_machine())
            return replace(result, system=self._sampler.rest()) if self._sampler is not None else result
        finally:
            self._heartbeat.close()

    def load(self, path: str, files: dict[str, bytes], place: int) -> None:
        """Load the data of a run whose next attempt this worker will join, so that the others need not wait for it.

        Args:
            path: of the run's folder, on the driver's machine.
            files: its content.
            place: as for `run`.

        """
        from stoker.datasets.loading import load_dataset
        from stoker.execution.data_cache import DataCache
        from stoker.execution.resolved_job import load_run_job
        from stoker.job.job import Job
        from stoker.job.task import TASKS

        load_secret_files()
        self._own = unpack(files, Path(path).name, str(place))
        job = load_run_job(self._own)
        if isinstance(job, Job):
            os.environ.update(job.environment.env)
        if isinstance(job, Job) and not job.training.start_from:  # whose vocabulary is that of a model
            self._cache = self._cache or DataCache()
            self._cache.put(job, load_dataset(job.dataset_to_load, TASKS[job.task]))

    def leaves(self) -> bool:
        """Return whether this pod is about to end."""
        return is_leaving()

    def address(self) -> str:
        """Return a free port of this machine, as the address of the process group."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            return f"{ray.util.get_node_ip_address()}:{probe.getsockname()[1]}"

    def request(self, request: str) -> None:
        """Set the driver's request: `stop`."""
        self._heartbeat.request = request

    def beat(self, position: int = 0) -> Beat:
        """Return a heartbeat; `position` is the length of the driver's journal, if the worker has its own."""
        beat = replace(self._heartbeat.beat(), leaving=is_leaving(), machine=this_machine())
        if self._sampler is not None:
            beat = replace(beat, system=self._sampler.newest())
        return beat if self._own is None else replace(beat, update=self.update(position))

    def update(self, position: int) -> FolderUpdate:
        """Return the changes of the worker's own folder; the journal from a byte position on."""
        return FolderUpdate() if self._own is None else folder_update(self._own, position)

    def delete_folder(self) -> None:
        """Delete the worker's own folder."""
        if self._own is not None:
            shutil.rmtree(self._own.path, ignore_errors=True)

    def stack_traces(self) -> str:
        """Return the stack traces of all threads."""
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        parts = []
        for number, frame in sys._current_frames().items():
            parts.append(f"thread {names.get(number, number)}:\n{''.join(traceback.format_stack(frame))}")
        return "\n".join(parts)
