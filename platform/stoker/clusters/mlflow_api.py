"""The REST API of an MLflow server, called without MLflow: the clients of a cluster do not import it."""

import base64
import json
import os
import shutil
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

from stoker.errors import ClusterError, NotFound, StokerError, Unreachable
from stoker.http_client import ErrorStatus, HttpClient, NoResponse
from stoker.job.saved_model import WEIGHTS
from stoker.tracking.run import RunHeader, RunStatus, State, known_fields
from stoker.tracking.tags import ATTEMPTS_TAG, CAUSE_TAG, HEADER_TAG, PARENT_TAG, RESULT_TAG, RUN_TAG, STATE_TAG, STATUS

TIMEOUT_S = 20.0
REST = "/api/2.0/mlflow"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
MAX_FOUND = 1000
MAX_CHILDREN = 1000
"""MLflow returns the newest first, and the running trials are among them."""


class MlflowApi:
    """Client of one server.

    Args:
        address: of the server.
        user: empty for a server without a login.
        password: of that user.

    """

    def __init__(self, address: str, user: str = "", password: str = "") -> None:
        login = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._client = HttpClient(address, {"Authorization": f"Basic {login}"} if user else {}, timeout_s=TIMEOUT_S)

    def find(self, experiment: str, run: str) -> dict[str, Any] | None:
        """Return the MLflow run of a run, by the run's id; None if there is none."""
        found = self._get("experiments/get-by-name", experiment_name=experiment)
        if not found:
            return None
        query = {
            "experiment_ids": [found["experiment"]["experiment_id"]],
            "filter": f"tags.`{RUN_TAG}` = '{run}'",
            "max_results": 1,
        }
        runs = self._post("runs/search", query).get("runs", [])
        return runs[0] if runs else None

    def headers(self, prefix: str) -> list[RunHeader]:
        """Return the headers of all runs whose ids begin like this, the newest first; trials have none of their own."""
        experiments = self._post("experiments/search", {"max_results": MAX_FOUND}).get("experiments", [])
        query = {
            "experiment_ids": [each["experiment_id"] for each in experiments],
            "filter": f"tags.`{RUN_TAG}` LIKE '{prefix}%' AND tags.`{HEADER_TAG}` LIKE '{{%'",
            "max_results": MAX_FOUND,
        }
        runs = self._post("runs/search", query).get("runs", []) if experiments else []
        tags = [{tag["key"]: tag["value"] for tag in run["data"].get("tags", [])} for run in runs]
        found = [RunHeader(**known_fields(RunHeader, json.loads(each[HEADER_TAG]))) for each in tags]
        return sorted(found, key=lambda header: header.order, reverse=True)

    def status(self, experiment: str, run: str, known: RunStatus) -> RunStatus | None:
        """Return how a run ended according to MLflow; None if it has not ended there."""
        mlflow_run = self.find(experiment, run)
        return status_of(mlflow_run, known) if mlflow_run else None

    def fetch(self, experiment: str, run: str, name: str, target: Path) -> bool:
        """Download an artifact of a run; return False if it has none of this name."""
        mlflow_run = self.find(experiment, run)
        if mlflow_run is None:
            return False
        try:
            self._download(mlflow_run["info"]["artifact_uri"], name, target)
        except NotFound:
            return False
        return True

    def fetch_model(self, model_uri: str, target: Path) -> None:
        """Download the files of a logged model of Stoker, whole or not at all.

        Raises:
            NotFound: the server has no such model.

        """
        model = self._get(f"logged-models/{model_uri.rpartition('/')[2]}")
        if not model:
            raise NotFound(f"MLflow no longer has the model {model_uri}")
        uri = model["model"]["info"]["artifact_uri"]
        files = list(self._list(uri, ""))
        prefix = next((path.removesuffix(WEIGHTS) for path in files if path.endswith(WEIGHTS)), None)
        if prefix is None:
            raise NotFound(f"{model_uri} is not a model of Stoker")
        draft = target.with_name(f".{target.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        for path in files:
            if path.startswith(prefix):
                self._download(uri, path, draft / path.removeprefix(prefix))
        draft.rename(target)

    def end(self, experiment: str, run: str, state: State) -> None:
        """Write a final state to a run, and to its trials that have not ended."""
        mlflow_run = self.find(experiment, run)
        if mlflow_run is None:
            return
        info = mlflow_run["info"]
        query = {
            "experiment_ids": [info["experiment_id"]],
            "filter": f"tags.`{PARENT_TAG}` = '{info['run_id']}'",
            "max_results": MAX_CHILDREN,
        }
        children = [child["info"] for child in self._post("runs/search", query).get("runs", [])]
        for each in (info, *(child for child in children if child["status"] not in STATUS.values())):
            self._post("runs/set-tag", {"run_id": each["run_id"], "key": STATE_TAG, "value": state})
            self._post("runs/update", {"run_id": each["run_id"], "status": STATUS[state]})

    def _list(self, uri: str, folder: str) -> Iterator[str]:
        """Yield the files below a folder of artifacts."""
        query = urllib.parse.urlencode({"path": f"{_artifact_path(uri)}/{folder}".rstrip("/")})
        found = self._json("GET", f"{ARTIFACTS}?{query}")
        for file in found.get("files", []):
            path = f"{folder}/{file['path']}".lstrip("/")
            if file.get("is_dir"):
                yield from self._list(uri, path)
            else:
                yield path

    def _download(self, uri: str, name: str, target: Path) -> None:
        path = f"{ARTIFACTS}/{urllib.parse.quote(f'{_artifact_path(uri)}/{name}')}"
        try:
            self._client.download(path, target)
        except (ErrorStatus, NoResponse) as error:
            raise _translated(error, path) from error

    def _get(self, method: str, **query: str) -> dict[str, Any]:
        """Call a method of the API; return an empty object if there is no such thing."""
        suffix = f"?{urllib.parse.urlencode(query)}" if query else ""
        try:
            return self._json("GET", f"{REST}/{method}{suffix}")
        except NotFound:
            return {}

    def _post(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._json("POST", f"{REST}/{method}", json.dumps(body).encode())

    def _json(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        try:
            return dict(json.loads(self._client.request(method, path, body, "application/json" if body else "")))
        except (ErrorStatus, NoResponse) as error:
            raise _translated(error, path) from error


def cancel_mlflow_run(header: RunHeader, connect: Callable[[], AbstractContextManager[MlflowApi]]) -> str:
    """Mark a run as CANCELLED in MLflow; return the reason if that fails, otherwise an empty string."""
    if not header.experiment:
        return ""
    try:
        with connect() as mlflow:
            mlflow.end(header.experiment, header.id, State.CANCELLED)
    except StokerError as error:
        return str(error)
    return ""


def login_from_environment() -> tuple[str, str]:
    """Return user and password as MLflow's own variables have them; empty where they are not set."""
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{name}", "") for name in ("USERNAME", "PASSWORD"))
    return user, password


def status_of(mlflow_run: dict[str, Any], known: RunStatus) -> RunStatus | None:
    """Return how a run ended according to its MLflow run; None if that has not ended.

    Args:
        mlflow_run: as the REST API returns it.
        known: the status so far.

    """
    data, info = mlflow_run.get("data", {}), mlflow_run["info"]
    tags = {tag["key"]: tag["value"] for tag in data.get("tags", [])}
    state = State(tags.get(STATE_TAG, ""))
    if not state.ended:
        return None
    cause = tags.get(CAUSE_TAG, "")
    outputs = mlflow_run.get("outputs", {}).get("model_outputs", [])
    model_uri = f"models:/{outputs[-1]['model_id']}" if outputs else known.model_uri
    note = tags.get("mlflow.note.content", "") if state is State.FAILED else ""
    return replace(
        known,
        state=state,
        phase="",
        cause=cause,
        message=note.removeprefix(f"{cause}: "),
        ended=float(info.get("end_time", 0)) / 1000 or known.ended,
        metrics=json.loads(tags.get(RESULT_TAG, "{}")),
        mlflow_run=info["run_id"],
        model_uri=model_uri,
        attempt=int(tags.get(ATTEMPTS_TAG, known.attempt)),
        exit_code=0 if state in (State.SUCCEEDED, State.PAUSED) else 1,
    )


def _translated(error: ErrorStatus | NoResponse, path: str) -> StokerError:
    if isinstance(error, NoResponse):
        return Unreachable(f"MLflow does not answer ({error})")
    if error.status == HTTPStatus.NOT_FOUND:
        return NotFound(f"MLflow has nothing at {path}")
    return ClusterError(f"MLflow refuses: {error}")


def _artifact_path(uri: str) -> str:
    """Return the path among the server's artifacts of a URI such as mlflow-artifacts:/1/RUN/artifacts."""
    return urllib.parse.urlsplit(uri).path.lstrip("/")
