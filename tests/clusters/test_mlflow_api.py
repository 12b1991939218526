"""MLflow's pages over HTTP, where the server falls silent; tests/execution reads them from a real one."""

import http.server
import threading
from collections.abc import Iterator

import pytest

from stoker.clusters.mlflow_api import MlflowApi
from stoker.errors import ClusterError, NotFound, Unreachable
from stoker.tracking.run import RunStatus

WHOLE = b"0123456789" * 100
ANSWERS = {
    "/api/2.0/mlflow/logged-models/m-1": b'{"model": {"info": {"artifact_uri": "mlflow-artifacts:/1/models/m-1"}}}',
    "/api/2.0/mlflow-artifacts/artifacts?path=1%2Fmodels%2Fm-1": (
        b'{"files": [{"path": "weights.safetensors", "is_dir": false}]}'
    ),
}
FILE = "/api/2.0/mlflow-artifacts/artifacts/1/models/m-1/weights.safetensors"


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, int]]]:
    """A server that cuts the file off where it is told; and that place."""
    cut = {"after": len(WHOLE), "status": 200}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = WHOLE if self.path == FILE else ANSWERS.get(self.path, b"")
            self.send_response(cut["status"] if content else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: cut["after"]] if self.path == FILE else content)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", cut
        running.shutdown()
        thread.join()


def test_a_model_that_is_cut_off_is_not_kept_and_comes_whole_later(server, tmp_path):
    address, cut = server
    cut["after"] = 500
    with pytest.raises(Unreachable, match=r"in the middle of weights\.safetensors"):
        MlflowApi(address).fetch_model("models:/m-1", tmp_path / "model")
    assert not (tmp_path / "model").exists()
    cut["after"] = len(WHOLE)
    MlflowApi(address).fetch_model("models:/m-1", tmp_path / "model")
    assert (tmp_path / "model" / "weights.safetensors").read_bytes() == WHOLE


def test_a_missing_model_a_refusal_and_an_unreachable_server_raise_distinct_errors(server, tmp_path):
    address, cut = server
    with pytest.raises(NotFound, match="no longer has the model models:/m-2"):
        MlflowApi(address).fetch_model("models:/m-2", tmp_path / "model")
    cut["status"] = 403
    with pytest.raises(ClusterError, match="MLflow refuses: HTTP 403"):
        MlflowApi(address).fetch_model("models:/m-1", tmp_path / "model")
    with pytest.raises(Unreachable, match="MLflow does not answer"):
        MlflowApi("http://127.0.0.1:9").status("digits", "digits-1", RunStatus())
