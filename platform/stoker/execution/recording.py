"""The run's page in MLflow, opened beside the start of Ray; training never waits for it."""

import fcntl
import getpass
import hashlib
import importlib
import json
import platform
import threading
import traceback
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import stoker
from stoker.settings import Settings
from stoker.spec.loading import load_job
from stoker.tracking.journal import Shipper
from stoker.tracking.record import RunFolder, State

if TYPE_CHECKING:
    from stoker.execution.worker import WorkerResult
    from stoker.tracking.mlflow import TrackedRun

PATIENCE_S = 60.0
"""A run that is over waits so long for a tracking server that is down."""
RETRY_S = 2.0
LIBRARIES = ("torch", "torchmetrics", "ray", "mlflow", "numpy", "pandas")


class Recording:
    """Opens the page, ships the journal to it, and closes it with model and pictures."""

    def __init__(self, folder: RunFolder, settings: Settings, announce: Callable[[str, str], None]) -> None:
        self._folder = folder
        self._header = folder.header()
        self._settings = settings
        self._announce = announce
        self._tracked: TrackedRun | None = None
        self._shipper: Shipper | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._open, name="recording", daemon=True)

    def start(self) -> None:
        """Begin; without effect for a job with `tracking: none`."""
        if self._header.tracking_uri:
            self._thread.start()

    def finish(self, result: "WorkerResult", state: State) -> tuple[str, str]:
        """Record how the run ended; return the model's URI and what did not get through, both perhaps empty."""
        if not self._header.tracking_uri:
            return "", ""
        self._over.set()
        self._thread.join(PATIENCE_S)
        if self._tracked is None or self._shipper is None:
            return "", f"MLflow at {self._header.tracking_uri} did not answer: nothing is recorded there"
        try:
            model_uri = self._log_result(self._tracked, result) if state is State.SUCCEEDED else ""
            lost = self._shipper.close(PATIENCE_S)
            note = f"{result.cause}: {result.message}" if result.cause else result_note(self._header.id, result.metrics)
            facts = {f"stoker.{name}": text for name, text in result.facts.items()}
            cause = {"stoker.cause": result.cause} if result.cause else {}
            self._tracked.end(state, note, {**facts, **cause})
        except Exception as error:  # the model and the journal are in the run's folder: nothing is lost
            traceback.print_exc()
            return "", f"MLflow did not take everything ({type(error).__name__}: {error}); it is in {self._folder.path}"
        return model_uri, f"{lost} values of metrics did not reach MLflow" if lost else ""

    def _open(self) -> None:
        """Find or make the page, as soon as MLflow lets us."""
        from stoker.tracking.mlflow import TrackedRun

        artifacts = self._settings.artifacts if self._settings.embedded else None
        tags = {
            "mlflow.user": getpass.getuser(),
            "stoker.version": stoker.__version__,
            "stoker.code": code_hash(),
            "stoker.task": self._header.task,
            "stoker.dataset": self._header.dataset,
        }
        while self._tracked is None:
            try:
                with _one_at_a_time(self._settings.home / "mlflow.lock"):
                    self._tracked = TrackedRun.open(self._header, self._settings.tracking_uri, artifacts, tags)
            except Exception:
                traceback.print_exc()
                if self._over.wait(RETRY_S):
                    return
        self._shipper = Shipper(self._folder.journal, self._tracked)
        self._shipper.start()
        self._announce(self._tracked.run_id, self._tracked.page)
        self._tracked.watch_system()
        importlib.import_module("stoker.inference.model")  # its libraries are needed at the end, and load meanwhile

    def _log_result(self, tracked: "TrackedRun", result: "WorkerResult") -> str:
        """Store job, data, figures and model."""
        from stoker.execution.packaging import packaged

        job = load_job(self._folder.resolved).job
        tracked.log_job(job.model_dump(mode="json", by_alias=True, exclude_none=True), self._folder.resolved)
        tracked.log_dataset(self._header.dataset, job.dataset.source, result.facts["data"], "training")
        environment = self._folder.path / "environment.json"
        environment.write_text(json.dumps(describe_environment(), indent=1), encoding="utf-8")
        tracked.log_file(environment)
        tracked.log_files(self._folder.artifacts)
        register = None if job.tracking == "none" else job.tracking.register_as
        with packaged(self._folder.model) as model:
            return tracked.log_model(model, register, result.best_step)


def result_note(run: str, metrics: Mapping[str, float]) -> str:
    """Write the results of the best weights as the page's description, in Markdown; empty without results."""
    if not metrics:
        return ""
    quantities = sorted({key.split("/")[0] for key in metrics})
    parts = [part for part in ("train", "val", "test") if any(key.endswith(f"/{part}") for key in metrics)]
    lines = [f"| best weights | {' | '.join(parts)} |", "|---" * (len(parts) + 1) + "|"]
    for quantity in quantities:
        values = [metrics.get(f"{quantity}/{part}") for part in parts]
        cells = ["" if value is None else f"{value:.4g}" for value in values]
        lines.append(f"| {quantity} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"`stoker predict {run} --input DATA`"])


def describe_environment() -> dict[str, str]:
    """Say what the run stands on."""
    libraries = {name: version(name) for name in LIBRARIES}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "stoker": stoker.__version__,
        **libraries,
    }


def code_hash() -> str:
    """Hash the package's source, so that two runs can be told apart by their code."""
    source = Path(stoker.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(source.rglob("*.py")):
        digest.update(str(path.relative_to(source)).encode() + b"\\0" + path.read_bytes())
    return digest.hexdigest()[:16]


class _one_at_a_time:  # noqa: N801 - reads as a statement
    """Let one process at a time make the embedded store: MLflow's own set-up races."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._file = self._path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()
