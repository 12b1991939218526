"""The recording of a run in MLflow, in a thread that starts with Ray and never blocks training."""

import fcntl
import getpass
import hashlib
import importlib
import json
import math
import os
import platform
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import stoker
from stoker.execution.worker_result import WorkerResult
from stoker.job.own_code import AnyJob, CodeJob
from stoker.job.task import use_command
from stoker.jobfile.loading import load_job
from stoker.settings import Settings, without_password
from stoker.tracking.journal import Shipper
from stoker.tracking.run import RunHeader, State
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.system_metrics import SystemMetrics, SystemSample
from stoker.tracking.tags import ATTEMPTS_TAG, CAUSE_TAG, RESULT_TAG
from stoker.tracking.weaknesses import weakness_notes

if TYPE_CHECKING:
    from stoker.tracking.mlflow_run import MlflowRun

PATIENCE_S = 180.0
"""How long a finished run waits for a tracking server that is down."""
SHORT_PATIENCE_S = 10.0
"""The same for a cancelled or paused run, whose user is waiting; the run's folder has the rest."""
RETRY_S = 2.0
RESOLVED_EVERY_S = 0.5
Result = TypeVar("Result")
LIBRARIES = ("torch", "torchmetrics", "ray", "mlflow", "numpy", "pandas")


class Recording:
    """Creates the MLflow run, ships the journal to it, and ends it with the model and the figures."""

    def __init__(self, folder: RunFolder, settings: Settings, announce: Callable[[str, str], None]) -> None:
        self._folder = folder
        self._header = folder.header()
        self._settings = settings
        self._announce = announce
        self._tracked: MlflowRun | None = None
        self._shipper: Shipper | None = None
        self._reason = ""
        """Why there is no MLflow run yet."""
        self._system = SystemMetrics()
        self._over = threading.Event()
        self._deadline = math.inf
        """When retries end; set once the run is over."""
        self._thread = threading.Thread(target=self._open, name="recording", daemon=True)

    @property
    def page(self) -> "MlflowRun | None":
        """Return the MLflow run; None before it exists."""
        return self._tracked

    def start(self) -> None:
        """Start the thread; does nothing for a job with `tracking: none`."""
        if self._header.tracking_uri:
            self._thread.start()

    def add_system_metrics(self, node: str, sample: SystemSample) -> None:
        """Record the system metrics of a worker.

        Args:
            node: the worker, such as `worker-1`; empty if there is only one.
            sample: of the worker.

        """
        if self._header.tracking_uri:
            self._system.add(node, sample)

    def finish(self, result: WorkerResult, state: State, attempts: int) -> tuple[str, str]:
        """Record the end of the run; return the model's URI and any MLflow error, both possibly empty.

        Args:
            result: metrics of the best weights, facts and description.
            state: the final one.
            attempts: number of attempts.

        """
        patience = PATIENCE_S if state is not State.CANCELLED else SHORT_PATIENCE_S
        tracked, trouble = self._ship_rest(patience)
        if tracked is None:
            return "", trouble
        troubles, model_uri = [trouble], ""
        if state is State.SUCCEEDED:
            logged, trouble = self._retry(lambda: self._log_result(tracked, result))
            model_uri, lacking = logged or ("", "")
            troubles += [trouble, lacking]
        note = f"{result.cause}: {result.message}" if result.cause else result.note or self._description(result.metrics)
        if self._folder.log.exists():
            _, trouble = self._retry(lambda: tracked.log_file(self._folder.log))
            troubles.append(trouble)
        tags = {f"stoker.{name}": text for name, text in result.facts.items()} | {ATTEMPTS_TAG: str(attempts)}
        if result.cause or attempts > 1:  # the cause of an earlier attempt must not remain
            tags[CAUSE_TAG] = result.cause
        if result.metrics:
            tags[RESULT_TAG] = json.dumps(result.metrics)
        _, trouble = self._retry(lambda: tracked.end(state, note, tags))
        return model_uri, "; ".join(filter(None, [*troubles, trouble]))

    def suspend(self, state: State, attempts: int) -> str:
        """Record that the run can be resumed; return any MLflow error, or an empty text."""
        tracked, trouble = self._ship_rest(SHORT_PATIENCE_S)
        if tracked is None:
            return trouble
        _, more = self._retry(lambda: tracked.suspend(state, {ATTEMPTS_TAG: str(attempts)}))
        return "; ".join(filter(None, [trouble, more]))

    def _ship_rest(self, patience_s: float) -> tuple["MlflowRun | None", str]:
        """Wait for the MLflow run and ship the rest of the journal; return the run and any error."""
        if self._thread.ident is None:
            return None, ""
        self._deadline = time.monotonic() + patience_s
        self._over.set()
        self._thread.join(patience_s)
        if self._tracked is None or self._shipper is None:
            uri = self._header.tracking_uri
            return None, f"the run is not recorded in MLflow at {uri}: {self._reason or 'no answer'}"
        try:
            lost = self._shipper.close(max(0.0, self._deadline - time.monotonic()))
        except Exception as error:  # refused permanently, such as for a deleted run
            return self._tracked, f"MLflow did not accept all metrics ({type(error).__name__}: {self._redacted(error)})"
        return self._tracked, f"{lost} metric values and pictures did not reach MLflow" if lost else ""

    def _retry(self, step: Callable[[], Result]) -> tuple[Result | None, str]:
        """Retry a step until MLflow accepts it, refuses it permanently, or the deadline passes."""
        while True:
            try:
                return step(), ""
            except Exception as error:  # nothing is lost: model and journal are in the run's folder
                traceback.print_exc()
                from stoker.tracking.mlflow_run import is_outage

                if not is_outage(error) or time.monotonic() > self._deadline:
                    message = f"MLflow did not accept everything ({type(error).__name__}: {self._redacted(error)})"
                    return None, f"{message}; it is in {self._folder.path}"
            time.sleep(RETRY_S)

    def _redacted(self, error: Exception) -> str:
        """Return an error's text without the server's password."""
        uri = self._settings.tracking_uri
        return str(error).replace(uri, without_password(uri))

    def _open(self) -> None:
        """Find or create the MLflow run, retrying while MLflow is down; log the job once it is resolved."""
        from stoker.tracking.mlflow_run import MlflowRun

        settings = self._settings
        artifacts = settings.artifacts if settings.embedded else None
        tags = run_tags(self._header)
        while self._tracked is None:
            try:
                with exclusive_lock(settings.home / "mlflow.lock") if settings.embedded else nullcontext():
                    self._tracked = MlflowRun.open(self._header, settings.tracking_uri, artifacts, tags)
            except Exception as error:
                self._reason = f"{type(error).__name__}: {self._redacted(error)}"
                print(self._reason, file=sys.stderr)  # noqa: T201 - the driver's log
                if time.monotonic() > self._deadline:
                    return
                time.sleep(RETRY_S)
        last_step = self._tracked.last_step
        self._shipper = Shipper(self._folder.journal, self._tracked, lambda: self._system.take(last_step))
        self._shipper.start()
        self._announce(self._tracked.run_id, self._tracked.page)
        importlib.import_module("stoker.execution.packaging")  # preload: needed at the end
        while not self._folder.resolved.exists() and not self._over.wait(RESOLVED_EVERY_S):
            pass
        if self._folder.resolved.exists():
            with suppress(Exception):  # logged again at the end
                self._log_job(self._tracked)

    def _log_job(self, tracked: "MlflowRun") -> AnyJob:
        job = load_job(self._folder.resolved).job
        tracked.log_job(job.model_dump(mode="json", by_alias=True, exclude_none=True), self._folder.resolved)
        return job

    def _description(self, metrics: Mapping[str, float]) -> str:
        """Format the results; own code reports what it likes, and has no model that `predict` knows."""
        if self._header.own_code:
            return last_report(metrics)
        return results_description(metrics, use_command(self._header.task, self._header.id))

    def _log_result(self, tracked: "MlflowRun", result: WorkerResult) -> tuple[str, str]:
        """Log job, dataset, figures and model; return the model's URI, and what own code lacks to be registered."""
        from stoker.execution.own_code.model import record_model
        from stoker.execution.packaging import packaged

        job = self._log_job(tracked)
        if "data" in result.facts and job.dataset:
            tracked.log_dataset(self._header.dataset, job.dataset.source, result.facts["data"], "training")
        environment = self._folder.path / "environment.json"
        environment.write_text(json.dumps(environment_versions(), indent=1), encoding="utf-8")
        tracked.log_file(environment)
        tracked.log_files(self._folder.artifacts)
        if isinstance(job, CodeJob) and not job.sweep:
            return record_model(self._folder, job, tracked)
        if not self._folder.model.exists():
            return "", ""  # a sweep: its best trial has the model
        register = None if job.tracking == "none" else job.tracking.register_as
        with packaged(self._folder.model) as model:
            return tracked.log_model(model, register, result.best_step), ""


def last_report(metrics: Mapping[str, float]) -> str:
    """Format what own code has reported last as a run description, in Markdown; empty without a report."""
    rows = [f"| {name} | {value:.4g} |" for name, value in metrics.items()]
    return "\n".join(["| last report | value |", "|---|---|", *rows]) if rows else ""


def results_description(metrics: Mapping[str, float], command: str) -> str:
    """Format the results of the best weights, notes on them, and their use, in Markdown; empty without results."""
    if not metrics:
        return ""
    quantities = dict.fromkeys(key.split("/")[0] for key in metrics)
    parts = [part for part in ("train", "val", "test") if any(key.endswith(f"/{part}") for key in metrics)]
    lines = [f"| best weights | {' | '.join(parts)} |", "|---" * (len(parts) + 1) + "|"]
    for quantity in quantities:
        values = [metrics.get(f"{quantity}/{part}") for part in parts]
        cells = ["" if value is None else f"{value:.4g}" for value in values]
        lines.append(f"| {quantity} | {' | '.join(cells)} |")
    notes = [f"- {note}" for note in weakness_notes(metrics).values()]
    return "\n".join([*lines, *([""] if notes else []), *notes, "", f"`{command}`"])


def run_tags(header: RunHeader) -> dict[str, str]:
    """Return the tags of a new run."""
    return {
        "mlflow.user": user_name(),
        "stoker.version": stoker.__version__,
        "stoker.code": code_hash(),
        "stoker.task": header.task,
        "stoker.dataset": header.dataset,
    }


def environment_versions() -> dict[str, str]:
    """Return the versions of Python, Stoker and the main libraries."""
    libraries = {name: version(name) for name in LIBRARIES}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "stoker": stoker.__version__,
        **libraries,
    }


@cache
def code_hash() -> str:
    """Return a hash of the package's source, which distinguishes runs of different code."""
    source = Path(stoker.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(source.rglob("*.py")):
        digest.update(str(path.relative_to(source)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Lock the embedded store: MLflow's own set-up is not safe in two processes at once."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def user_name() -> str:
    """Return the user's name, or their number if the machine does not know the name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
