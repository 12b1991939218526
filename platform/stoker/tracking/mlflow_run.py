"""A run in MLflow: found by its tag, and ended in exactly one final state."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from PIL import Image

from stoker.tracking.journal import Point
from stoker.tracking.parameters import to_parameters
from stoker.tracking.run import RunHeader
from stoker.tracking.tags import HEADER_TAG, RUN_TAG, STATE_TAG, STATUS

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")

from mlflow import MlflowClient
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import DatasetInput, InputTag, LoggedModelStatus, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_IMAGES

CHECKPOINT = "checkpoint"
"""Where files of own code are among the artifacts."""
LONGEST_PARAM = 6000
LONGEST_NOTE = 5000
THUMBNAIL = 256
"""Pixels of the longer side of MLflow's small copy of a picture."""
REFUSED = frozenset({"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "PERMISSION_DENIED", "BAD_REQUEST"})
"""MLflow's error codes that a retry cannot help."""
RESTING = "SCHEDULED"
"""MLflow's status of a run that is neither running nor ended: it has none for a pause."""


class MlflowRun:
    """One run in MLflow."""

    def __init__(self, client: MlflowClient, experiment_id: str, run_id: str) -> None:
        self._client = client
        self.experiment_id = experiment_id
        self.run_id = run_id

    @staticmethod
    def open(header: RunHeader, tracking_uri: str, artifacts: Path | None, tags: Mapping[str, str]) -> "MlflowRun":
        """Find the run by its tag and continue it, or create it.

        Args:
            header: of the run.
            tracking_uri: of the store or server, with a password if needed.
            artifacts: folder of an embedded store's files; None for a server, which has its own.
            tags: further tags of a new run.

        """
        import mlflow

        mlflow.set_tracking_uri(tracking_uri)
        client = MlflowClient(tracking_uri)
        experiment_id = _experiment(client, header.experiment, artifacts)
        found = client.search_runs([experiment_id], f"tags.`{RUN_TAG}` = '{header.id}'", max_results=1)
        if found:
            tracked = MlflowRun(client, experiment_id, found[0].info.run_id)
            client.update_run(tracked.run_id, status="RUNNING")  # another attempt
            tracked.set_tags({STATE_TAG: "RUNNING"})
            return tracked
        identity = {**page_tags(header), HEADER_TAG: json.dumps(asdict(header))}
        run = client.create_run(experiment_id, run_name=header.id, tags={**identity, **tags})
        return MlflowRun(client, experiment_id, run.info.run_id)

    @property
    def client(self) -> MlflowClient:
        """Return MLflow's client, for writing several runs."""
        return self._client

    def sibling(self, run_id: str) -> "MlflowRun":
        """Return another run of the same experiment without a request to the server."""
        return MlflowRun(self._client, self.experiment_id, run_id)

    @property
    def page(self) -> str:
        """Return the run's page, relative to the server's address."""
        return f"/#/experiments/{self.experiment_id}/runs/{self.run_id}?workflowType=machine_learning"

    def last_step(self, key: str) -> int:
        """Return a metric's last step; -1 for none."""
        with outages_as_oserror():
            history = self._client.get_metric_history(self.run_id, key)
        return max((metric.step for metric in history), default=-1)

    def points(self, key: str) -> list[Point]:
        """Return a metric's values in the order in which they were logged.

        Raises:
            OSError: the server is down.

        """
        with outages_as_oserror():
            history = self._client.get_metric_history(self.run_id, key)
        return [Point(key, metric.value, metric.timestamp, metric.step) for metric in history]

    def log_points(self, points: list[Point]) -> None:
        """Log values in one request."""
        metrics = [Metric(point.key, point.value, point.time_ms, point.step) for point in points]
        with outages_as_oserror():
            self._client.log_batch(self.run_id, metrics=metrics, synchronous=True)

    def log_picture(self, file: Path, step: int, time_ms: int) -> None:
        """Log a picture of a step as `MlflowClient.log_image` does, but under the same names whenever it is repeated.

        MLflow shows those of one name, the part of the file's before the step, with a slider over the steps.
        """
        shown = file.stem.rpartition("-")[0]
        ident = uuid5(NAMESPACE_OID, f"{self.run_id}/{file.name}")
        name = f"{shown}+step+{step}+timestamp+{time_ms}+{ident}"
        with TemporaryDirectory() as place, outages_as_oserror():
            shutil.copyfile(file, Path(place) / f"{name}.png")
            with Image.open(file) as image:
                image.thumbnail((THUMBNAIL, THUMBNAIL))
                image.save(Path(place) / f"{name}+compressed.webp")
            self._client.log_artifacts(self.run_id, place, "images")
            self._client.set_tag(self.run_id, MLFLOW_LOGGED_IMAGES, "true")

    def log_job(self, job: Mapping[str, Any], resolved: Path) -> None:
        """Log the resolved job as parameters by dotted path, and as a file."""
        known = self._client.get_run(self.run_id).data.params
        params = [Param(key, value[:LONGEST_PARAM]) for key, value in to_parameters(job).items() if key not in known]
        self._client.log_batch(self.run_id, params=params, synchronous=True)
        self._client.log_artifact(self.run_id, str(resolved))

    def log_dataset(self, name: str, source: str, digest: str, context: str) -> None:
        """Log the name and digest of the run's dataset, without its content."""
        inputs = self._client.get_run(self.run_id).inputs
        if inputs and inputs.dataset_inputs:
            return
        dataset = MetaDataset(CodeDatasetSource({"mlflow.source.name": source}), name=name, digest=digest[:36])
        entity = dataset._to_mlflow_entity()
        self._client.log_inputs(self.run_id, [DatasetInput(entity, [InputTag("mlflow.data.context", context)])])

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self._client.log_batch(self.run_id, tags=[RunTag(key, value[:LONGEST_NOTE]) for key, value in tags.items()])

    def log_files(self, folder: Path) -> None:
        """Log all files of a folder."""
        if folder.is_dir():
            self._client.log_artifacts(self.run_id, str(folder))

    def log_file(self, file: Path) -> None:
        """Log one file."""
        self._client.log_artifact(self.run_id, str(file))

    def log_model(self, model: Any, register: str | None, step: int) -> str:
        """Log a model as MLflow's pyfunc flavour, unless it is there; return its URI.

        Args:
            model: arguments of the flavour, from `execution.packaging`.
            register: name of the registered model to add a version to.
            step: of the weights, by which MLflow links their metrics.

        """
        import mlflow.pyfunc

        if stored := self.logged_model(register):
            return stored
        mlflow.set_experiment(experiment_id=self.experiment_id)  # otherwise the model goes to the active experiment
        info = Model.log(
            None,
            mlflow.pyfunc,
            name="model",
            run_id=self.run_id,
            registered_model_name=register,
            step=step,
            **model,
        )
        uri: str = info.model_uri
        return uri

    def logged_model(self, register: str | None) -> str:
        """Return the URI of the run's newest model in MLflow, registered if it was not; empty without one.

        Args:
            register: name of the registered model to add a version to.

        """
        import mlflow

        stored = self._logged_model()
        if stored and register and not self._is_registered(register):
            mlflow.register_model(stored, register)
        return stored

    def register_files(self, folder: Path, register: str) -> str:
        """Log files as they are, and add them to the registry as a version; return their URI.

        Args:
            folder: with the files.
            register: name of the registered model to add a version to.

        """
        self._client.log_artifacts(self.run_id, str(folder), CHECKPOINT)
        uri = f"runs:/{self.run_id}/{CHECKPOINT}"
        if not self._is_registered(register):
            try:
                self._client.create_registered_model(register)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            place = self._client.get_run(self.run_id).info.artifact_uri
            self._client.create_model_version(register, f"{place}/{CHECKPOINT}", run_id=self.run_id)
        return uri

    def _is_registered(self, name: str) -> bool:
        """Return whether a model of this run is a version of a registered model."""
        return bool(self._client.search_model_versions(f"name = '{name}' and run_id = '{self.run_id}'"))

    def suspend(self, state: str, tags: Mapping[str, str]) -> None:
        """Mark the run as neither running nor ended."""
        self.set_tags({STATE_TAG: state, **tags})
        self._client.update_run(self.run_id, status=RESTING)

    def end(self, state: str, note: str, tags: Mapping[str, str]) -> None:
        """Set the final state, with a description."""
        self.set_tags({STATE_TAG: state, **({"mlflow.note.content": note} if note else {}), **tags})
        self._client.set_terminated(self.run_id, STATUS[state])

    def _logged_model(self) -> str:
        """Return the URI of the newest completely stored model, and delete incomplete ones."""
        outputs = self._client.get_run(self.run_id).outputs
        found = []
        for output in outputs.model_outputs if outputs else ():
            with suppress(MlflowException):  # it was deleted
                stored = self._client.get_logged_model(output.model_id)
                if stored.status is LoggedModelStatus.READY:
                    found.append((stored.creation_timestamp, stored.model_uri))
                else:
                    self._client.delete_logged_model(output.model_id)
        return max(found)[1] if found else ""


def page_tags(header: RunHeader) -> dict[str, str]:
    """Return the tags that identify a run and that MLflow shows as its source."""
    return {RUN_TAG: header.id, "mlflow.source.name": header.id, "mlflow.source.type": "JOB"}


def _experiment(client: MlflowClient, name: str, artifacts: Path | None) -> str:
    """Find or create an experiment, which another run may create at the same time."""
    found = client.get_experiment_by_name(name)
    if found is None:
        location = str(artifacts / name.replace("/", "-")) if artifacts else None
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def is_outage(error: Exception) -> bool:
    """Return whether the server is down or busy, so that a retry may succeed."""
    return isinstance(error, OSError) or (isinstance(error, MlflowException) and error.error_code not in REFUSED)


@contextmanager
def outages_as_oserror() -> Iterator[None]:
    """Raise OSError in place of MLflow's errors where a retry may succeed; refusals stay unchanged."""
    try:
        yield
    except MlflowException as error:
        if is_outage(error):
            raise OSError(str(error)) from error
        raise
