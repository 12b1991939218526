"""The driver of a run on a Ray cluster, whose workers share no disk with it.

The inputs are a read-only folder: `run.json`, `job.yaml`, and `code/` if the job has code of its own. The run's
progress is in the storage of its checkpoints (`RunStore`).
"""

import codecs
import os
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from stoker.errors import ClusterError, StokerError
from stoker.execution.attempts import GroupAttempts
from stoker.execution.contract import MORE_TRIALS, REOPEN
from stoker.execution.driver import Driver
from stoker.execution.engines.table import libraries_of
from stoker.execution.packages import failure_here
from stoker.execution.rayjob_channel import ask_for_all_workers, limit_retries, pods_replacer, serve_rayjob
from stoker.execution.run_store import RunStore
from stoker.execution.submission_channel import serve_submission
from stoker.job.concurrency import trials_at_once
from stoker.job.own_code import AnyJob, is_function
from stoker.job.resources import Elastic
from stoker.jobfile.loading import load_job
from stoker.secret_files import load_secret_files
from stoker.settings import Settings, load_settings, without_password
from stoker.tracking.run import RunHeader, State
from stoker.tracking.run_folder import RunFolder


def run_on_cluster(inputs: Path, terminated: threading.Event) -> int:
    """Run the job to a final state on the current Ray cluster, and return its exit code.

    Args:
        inputs: folder that describes the run.
        terminated: set once this process receives SIGTERM.

    """
    load_secret_files()
    limit_retries(load_job(inputs / "job.yaml").job.resources.retries)
    folder = create_run_folder(inputs, load_settings())
    folder.hold_lease(os.getpid())
    store = RunStore(folder)
    status = store.restore()
    if more := int(os.environ.get(MORE_TRIALS, "0")):
        folder.write_more_trials(more)
    token = os.environ.get(REOPEN, "")
    if status is not None and (status.state.final or status.state is State.PAUSED):
        if token in ("", status.reopened):
            return status.exit_code
        folder.reopen(token)
    with tee_output(folder.log), serve_rayjob(folder) or serve_submission(folder) or nullcontext():
        return _drive(folder, store, terminated)


def create_run_folder(inputs: Path, settings: Settings) -> RunFolder:
    """Create the run's folder with this cluster's storage and tracking server, unless it exists on this machine.

    Raises:
        ClusterError: no storage is set.

    """
    if not settings.storage:
        raise ClusterError(
            "STOKER_STORAGE is not set: the workers share no disk, so checkpoints need s3:// or a volume"
        )
    header = RunFolder(inputs).header()
    folder = RunFolder(settings.home / "runs" / header.id)
    if not folder.readable():
        folder.path.parent.mkdir(parents=True, exist_ok=True)
        code = inputs / "code"
        files = {str(path.relative_to(code)): path for path in code.rglob("*") if path.is_file()}
        folder.create(_header_here(header, settings), (inputs / "job.yaml").read_text(encoding="utf-8"), files)
    return folder


def _header_here(header: RunHeader, settings: Settings) -> RunHeader:
    tracking_uri = without_password(settings.tracking_uri) if header.experiment else ""
    return replace(header, tracking_uri=tracking_uri, storage=settings.storage)


def _drive(folder: RunFolder, store: RunStore, terminated: threading.Event) -> int:
    driver = Driver(folder, terminated, store)
    if failure := failure_here():
        return driver.stop(failure)
    os.environ.update(RAY_COLOR_PREFIX="0", RAY_DEDUP_LOGS="0")  # read when Ray loads
    try:
        import ray

        from stoker.execution.worker_group import WorkerGroup

        ray.init(address="auto", logging_level="warning")
        job = load_job(folder.job).job
        if job.sweep:
            return _sweep(driver, job, store)
        if is_function(job):
            from stoker.execution.ray_train.attempts import RayTrainAttempts

            return driver.train(RayTrainAttempts(job, shared_disk=False))
        resources = job.resources
        group: WorkerGroup
        if isinstance(resources.workers, Elastic):
            from stoker.execution.elastic_group import ElasticGroup

            ask_for_all_workers()
            group = ElasticGroup(resources.workers, resources.gpus, libraries_of(job))
        else:
            group = WorkerGroup(
                resources.workers, resources.gpus, spare=False, shared_disk=False, libraries=libraries_of(job)
            )
        try:
            return driver.train(GroupAttempts(group, store, pods_replacer()))
        finally:
            group.close()
    except (StokerError, OSError, RuntimeError) as error:
        traceback.print_exc()
        return driver.stop(f"{type(error).__name__}: {error}")


def _sweep(driver: Driver, job: AnyJob, store: RunStore) -> int:
    import ray

    from stoker.execution.sweeps.driver import SweepDriver, SweepPlacement
    from stoker.execution.sweeps.trial_stores import TrialStores

    resources = ray.cluster_resources()
    parallel = trials_at_once(job, int(resources.get("CPU", 0)), int(resources.get("GPU", 0)))
    with tempfile.TemporaryDirectory(prefix="stoker-") as session:
        placement = SweepPlacement(parallel, shared_disk=False, session=Path(session), cpus=job.resources.cpus or 1)
        return driver.run(SweepDriver(driver, placement, TrialStores(store)).run)


@contextmanager
def tee_output(log: Path) -> Iterator[None]:
    """Also copy the output of this process to a file, until the block ends."""
    reading, writing = os.pipe()
    shown = os.dup(1)
    kept = [os.dup(1), os.dup(2)]
    copying = threading.Thread(target=_copy, args=(reading, shown, log), name="log", daemon=True)
    copying.start()
    for stream in (1, 2):
        os.dup2(writing, stream)
    os.close(writing)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for stream, before in zip((1, 2), kept, strict=True):
            os.dup2(before, stream)
            os.close(before)
        copying.join(timeout=5)


def _copy(reading: int, shown: int, log: Path) -> None:
    text = codecs.getincrementaldecoder("utf-8")("replace")  # Ray refuses to show a log that is not UTF-8
    with log.open("ab", buffering=0) as file, os.fdopen(reading, "rb", buffering=0) as pipe:
        while content := pipe.read(65536):
            whole = text.decode(content).encode()
            file.write(whole)
            os.write(shown, whole)
    os.close(shown)
