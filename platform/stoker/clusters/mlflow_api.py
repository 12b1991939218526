"""What MLflow's server knows of runs, read over HTTP: a client of a cluster does not import MLflow."""

import base64
import json
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path
from typing import Any

from stoker.errors import ClusterError, NotFound, StokerError, Unreachable
from stoker.job.saved_model import WEIGHTS
from stoker.tracking.health import opener
from stoker.tracking.run import RunHeader, RunStatus, State
from stoker.tracking.tags import ATTEMPTS_TAG, CAUSE_TAG, PARENT_TAG, RESULT_TAG, RUN_TAG, STATE_TAG, STATUS

TIMEOUT_S = 20.0
PIECE_BYTES = 1 << 20
MISSING = 404
MOST_CHILDREN = 1000
"""MLflow gives the newest first, and those that run are among them."""


class Pages:
    """The runs of one server.

    Args:
        address: of the server.
        user: who asks; empty where nobody has to say.
        password: of that user.

    """

    def __init__(self, address: str, user: str = "", password: str = "") -> None:
        self._address = address.rstrip("/")
        login = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {login}"} if user else {}

    def find(self, experiment: str, run: str) -> dict[str, Any] | None:
        """Find a run's page by the run's id; None where there is none."""
        found = self._get("experiments/get-by-name", experiment_name=experiment)
        if not found:
            return None
        query = {
            "experiment_ids": [found["experiment"]["experiment_id"]],
            "filter": f"tags.`{RUN_TAG}` = '{run}'",
            "max_results": 1,
        }
        runs = self._call("runs/search", query).get("runs", [])
        return runs[0] if runs else None

    def status(self, experiment: str, run: str, known: RunStatus) -> RunStatus | None:
        """Tell how a run ended, as its page has it; None where the page does not say."""
        page = self.find(experiment, run)
        return status_of(page, known) if page else None

    def fetch(self, experiment: str, run: str, name: str, target: Path) -> bool:
        """Bring a file of a run's page here, unless there is none; tell whether there is."""
        page = self.find(experiment, run)
        if page is None:
            return False
        return self._download(page["info"]["artifact_uri"], name, target)

    def fetch_model(self, model_uri: str, target: Path) -> None:
        """Bring the files of a logged model of ours here, whole or not at all.

        Raises:
            NotFound: the server has no such model.

        """
        model = self._get(f"logged-models/{model_uri.rpartition('/')[2]}")
        if not model:
            raise NotFound(f"MLflow has no model {model_uri} any more")
        uri = model["model"]["info"]["artifact_uri"]
        files = list(self._files(uri, ""))
        inside = next((path.removesuffix(WEIGHTS) for path in files if path.endswith(WEIGHTS)), None)
        if inside is None:
            raise NotFound(f"{model_uri} is not a model of Stoker")
        draft = target.with_name(f".{target.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        for path in files:
            if path.startswith(inside):
                self._download(uri, path, draft / path.removeprefix(inside))
        draft.rename(target)

    def end(self, experiment: str, run: str, state: State) -> None:
        """Say on a run's page that somebody has ended it, and on those of its trials that have not ended."""
        page = self.find(experiment, run)
        if page is None:
            return
        info = page["info"]
        query = {
            "experiment_ids": [info["experiment_id"]],
            "filter": f"tags.`{PARENT_TAG}` = '{info['run_id']}'",
            "max_results": MOST_CHILDREN,
        }
        children = [child["info"] for child in self._call("runs/search", query).get("runs", [])]
        for each in (info, *(child for child in children if child["status"] not in STATUS.values())):
            self._call("runs/set-tag", {"run_id": each["run_id"], "key": STATE_TAG, "value": state})
            self._call("runs/update", {"run_id": each["run_id"], "status": STATUS[state]})

    def _files(self, uri: str, folder: str) -> Iterator[str]:
        """List the files below a folder of artifacts."""
        place = _artifact_path(uri)
        query = urllib.parse.urlencode({"path": f"{place}/{folder}".rstrip("/")})
        found = self._json(f"/api/2.0/mlflow-artifacts/artifacts?{query}")
        for file in found.get("files", []):
            path = f"{folder}/{file['path']}".lstrip("/")
            if file.get("is_dir"):
                yield from self._files(uri, path)
            else:
                yield path

    def _download(self, uri: str, name: str, target: Path) -> bool:
        path = urllib.parse.quote(f"{_artifact_path(uri)}/{name}")
        try:
            answer = self._open(f"/api/2.0/mlflow-artifacts/artifacts/{path}")
        except NotFound:
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.new")
        with draft.open("wb") as file, _heard():
            while piece := answer.read(PIECE_BYTES):
                file.write(piece)
        if draft.stat().st_size != int(answer.headers.get("Content-Length", draft.stat().st_size)):
            raise Unreachable(f"MLflow fell silent in the middle of {name}")  # a read that is cut short says nothing
        draft.replace(target)
        return True

    def _get(self, method: str, **query: str) -> dict[str, Any]:
        """Ask for something; empty where there is none."""
        words = f"?{urllib.parse.urlencode(query)}" if query else ""
        try:
            return self._json(f"/api/2.0/mlflow/{method}{words}")
        except NotFound:
            return {}

    def _call(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._json(f"/api/2.0/mlflow/{method}", json.dumps(body).encode())

    def _json(self, path: str, body: bytes | None = None) -> dict[str, Any]:
        answer = self._open(path, body)
        with _heard():
            return dict(json.loads(answer.read()))

    def _open(self, path: str, body: bytes | None = None) -> Any:
        headers = {**self._headers, **({"Content-Type": "application/json"} if body else {})}
        request = urllib.request.Request(self._address + path, body, headers)  # noqa: S310 - the address is a setting
        try:
            with _heard():
                return opener(self._address).open(request, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as error:
            if error.code == MISSING:
                raise NotFound(f"MLflow has nothing at {path}") from error
            raise ClusterError(f"MLflow refuses: HTTP {error.code}") from error


def end_page(header: RunHeader, pages: Callable[[], AbstractContextManager[Pages]]) -> str:
    """Say on a run's page that it is CANCELLED; return why that was not possible, or nothing."""
    if not header.experiment:
        return ""
    try:
        with pages() as server:
            server.end(header.experiment, header.id, State.CANCELLED)
    except StokerError as error:
        return str(error)
    return ""


@contextmanager
def _heard() -> Iterator[None]:
    """Say in our words that a server falls silent."""
    try:
        yield
    except urllib.error.HTTPError:
        raise
    except (OSError, HTTPException) as error:
        raise Unreachable(f"MLflow does not answer ({getattr(error, 'reason', error)})") from error


def status_of(page: dict[str, Any], known: RunStatus) -> RunStatus | None:
    """Read how a run ended from its page; None where the page does not say that it has.

    Args:
        page: the run, as MLflow's REST API gives it.
        known: what was known of it before.

    """
    data, info = page.get("data", {}), page["info"]
    tags = {tag["key"]: tag["value"] for tag in data.get("tags", [])}
    state = State(tags.get(STATE_TAG, ""))
    if not state.ended:
        return None
    cause = tags.get(CAUSE_TAG, "")
    outputs = page.get("outputs", {}).get("model_outputs", [])
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


def _artifact_path(uri: str) -> str:
    """Take the place among the server's artifacts out of a URI such as mlflow-artifacts:/1/RUN/artifacts."""
    return urllib.parse.urlsplit(uri).path.lstrip("/")
