"""A run's model, served by MLflow where Stoker is not installed."""

import json
import os
import subprocess
import sysconfig
import urllib.error
import urllib.request
import venv
from pathlib import Path

import mlflow
import pytest

from stoker.datasets.sources.builtin import read_builtin


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """A Python with the libraries, but without Stoker."""
    folder = tmp_path_factory.mktemp("stranger")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_paths()["purelib"])  # its own .pth files are not read
    python = folder / "venv" / "bin" / "python"
    uvicorn = python.with_name("uvicorn")  # MLflow calls it by name, as an installed one would be
    uvicorn.write_text(f"#!{python}\nfrom uvicorn.main import main\nmain()\n")
    uvicorn.chmod(0o755)
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MLFLOW_TRACKING_URI")
    }
    environment["PATH"] = f"{python.parent}{os.pathsep}{environment['PATH']}"
    missing = subprocess.run(
        [python, "-c", "import mlflow, torch, stoker"], env=environment, capture_output=True, text=True
    )
    assert "No module named 'stoker'" in missing.stderr
    return python, environment


def test_serves_pictures_where_stoker_is_not_installed(digits, stranger, tmp_path, until, answers, free_port):
    home, run = digits
    python, environment = stranger
    mlflow.set_tracking_uri(f"sqlite:///{home.path / 'mlflow.db'}")
    model = mlflow.artifacts.download_artifacts(run.status().model_uri, dst_path=str(tmp_path))
    port = free_port
    command = [python, "-m", "mlflow", "models", "serve", "-m", model, "--env-manager", "local", "--port", str(port)]
    log = tmp_path / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        until(lambda: server.poll() is not None or answers(f"http://127.0.0.1:{port}/ping"), "the server", 120)
        assert server.poll() is None, log.read_text()
        pictures = read_builtin("digits")
        sample = slice(0, 5)
        answer = _ask(port, {"inputs": pictures.pixels[sample].tolist()})
        predicted = [row["prediction"] for row in answer["predictions"]]
        assert sum(p == t for p, t in zip(predicted, pictures.labels[sample], strict=True)) >= 4
        assert sum(row[f"probability/{n}"] for row in answer["predictions"] for n in range(10)) == pytest.approx(5)
    finally:
        os.killpg(server.pid, 15)
        server.wait(20)


def test_the_stored_code_is_all_that_the_model_needs(digits, stranger, tmp_path):
    home, run = digits
    python, environment = stranger
    mlflow.set_tracking_uri(f"sqlite:///{home.path / 'mlflow.db'}")
    model = mlflow.artifacts.download_artifacts(run.status().model_uri, dst_path=str(tmp_path))
    script = (
        "import mlflow, numpy, sys; model = mlflow.pyfunc.load_model(sys.argv[1]);"
        "print(model.predict(numpy.zeros((2, 8, 8, 1), numpy.uint8)).shape);"
        "print('ray' in sys.modules, __import__('stoker').__file__.startswith(sys.argv[1]))"
    )
    done = subprocess.run([python, "-c", script, model], env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split("\n")[:2] == ["(2, 11)", "False True"], done.stderr
    assert (Path(model) / "python_env.yaml").exists()
    requirements = (Path(model) / "requirements.txt").read_text()
    assert "torch==" in requirements
    assert "stoker" not in requirements


def _ask(port, content):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        data=json.dumps(content).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read().decode()) from error
