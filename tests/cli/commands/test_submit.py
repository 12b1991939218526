"""`submit` and what it starts: not without the tracking server, and once for a key."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stoker.cli.mlflow_server import free_port
from stoker.tracking.run import State
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.run_lookup import list_runs

SOURCE = Path(__file__).parents[3] / "platform"
DRIVER = Path(__file__).parents[1] / "driver.py"
SUBMIT = """
import sys
from stoker.cli.main import main
sys.exit(main(sys.argv[2:], (sys.executable, sys.argv[1])))
"""
JOB = "task: tabular-classification\ndataset: iris\ntraining: {epochs: 2}\ntracking: none\n"


@pytest.fixture
def job(tmp_path):
    path = tmp_path / "iris.yaml"
    path.write_text(JOB)
    return path


def the_run(home: Path) -> RunFolder:
    (path,) = home.glob("runs/*")
    return RunFolder(path)


def test_submit_starts_nothing_without_its_tracking_server(stoker, home, tmp_path, capsys):
    job = tmp_path / "digits.yaml"
    job.write_text("task: image-classification\ndataset: digits\n")
    uri = f"http://user:secret@127.0.0.1:{free_port(20000)}"
    assert stoker("--tracking-uri", uri, "submit", job) == 4
    error = capsys.readouterr().err
    assert "does not answer (Connection refused); start it, or unset MLFLOW_TRACKING_URI" in error
    assert "secret" not in error
    assert not home.exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("sweep: {trials: 2, space: {training.optimizer.lr: [0.1, 0.01]}}\n", "this is a sweep: profile one of its"),
        ("", "this is own code: use torch.profiler in it"),
    ],
)
def test_only_our_own_loop_is_profiled(stoker, home, job, capsys, more, words):
    job.write_text(JOB + more if more else "entrypoint: own.py\n")
    (job.parent / "own.py").touch()
    assert stoker("submit", job, "--profile", 5) == 2
    assert words in capsys.readouterr().err
    assert not home.exists()


def test_a_standing_ray_of_the_config_file_is_where_the_job_goes(stoker, home, job, tmp_path, capsys):
    port = free_port(20000)
    (tmp_path / "config" / "stoker").mkdir(parents=True)
    lab = f"clusters: {{lab: {{ray_address: 'http://127.0.0.1:{port}', storage: /mnt}}}}\n"
    (tmp_path / "config" / "stoker" / "config.yaml").write_text(lab)
    assert stoker("--cluster", "lab", "submit", job) == 4
    assert f"cluster 'lab' does not answer at http://127.0.0.1:{port}" in capsys.readouterr().err
    assert not home.exists()


@pytest.fixture
def submitting(home: Path, job: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Submit in a process of its own, with a driver that does not train."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", SUBMIT, str(DRIVER), "--home", str(home), "submit", str(job), *arguments]
        environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_submit_shows_the_plan_and_stays_until_the_run_rests(starting, submitting, home, until):
    process = submitting()
    until(lambda: any(run.record().state is State.RUNNING for run in list_runs(home)), "the run", 60)
    assert starting("pause", "iris", "-o", "json") == 0
    shown, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (0, "")
    run = the_run(home).path.name
    lines = [line for line in shown.splitlines() if line.startswith(("inputs", "training", "optimizer", "schedule"))]
    assert lines == [
        "inputs      4 numbers",
        "training    2 epochs of 8 steps, 16 steps in all, 16 samples each",
        "optimizer   adamw, lr 0.002, betas 0.9 0.999, weight_decay 0.01",
        "schedule    cosine, warmup 5%",
    ]
    assert "\nruns on     this machine" in shown
    assert f"\nrun {run}\n" in shown
    assert f"PAUSED  {run} after" in shown
    assert f"next:\n  stoker resume {run}  continue from the checkpoint\n" in shown


def test_processes_that_submit_with_one_key_at_once_get_one_run(starting, submitting, home):
    processes = [submitting("--key", "nightly", "-d") for _ in range(3)]
    shown = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    run = the_run(home)
    said = [f"the key 'nightly' has a run, so none was started: {run.path.name} is" in text for text in shown]
    assert sorted(said) == [False, True, True]
    assert all(run.path.name in text for text in shown)
    assert run.header().key == "nightly"


def test_a_key_that_has_a_run_shows_its_end(starting, home, job, until, capsys):
    assert starting("submit", job, "--key", "k", "--detach") == 0
    run = the_run(home)
    (run.path / "finish").touch()
    assert starting("wait", run.path.name) == 0
    capsys.readouterr()
    assert starting("submit", job, "--key", "k") == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == f"the key 'k' has a run, so none was started: {run.path.name} is SUCCEEDED"
    assert second.startswith(f"SUCCEEDED  {run.path.name}")
    assert starting("submit", job, "--key", "k", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["id"] == run.path.name


def test_the_same_key_with_another_job_is_bad_input(starting, home, job, capsys):
    assert starting("submit", job, "--key", "k", "-d") == 0
    assert starting("submit", job, "--key", "k", "-d", "--set", "training.epochs=3") == 2
    error = capsys.readouterr().err
    assert (
        error == f"error: the key 'k' belongs to {the_run(home).path.name}, which has another job; choose another key\n"
    )


def test_a_plan_that_fails_frees_its_key(starting, home, job, capsys):
    assert starting("submit", job, "--key", "k", "-d", "--set", "training.batch_size=4000") == 2
    assert starting("submit", job, "--key", "k", "-d") == 0
    assert the_run(home).header().key == "k"


@pytest.mark.parametrize("key", ["", "  "])
def test_an_empty_key_is_bad_input(key, starting, job, capsys):
    assert starting("submit", job, "--key", key) == 2
    assert "is empty (example: --key" in capsys.readouterr().err


def test_the_users_code_is_planned_and_goes_along_again_with_the_run(starting, home, tmp_path, capsys):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "my_small_net.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Sequential):\n"
        "    def __init__(self, width=4):\n        super().__init__(nn.Linear(4, width), nn.Linear(width, 3))\n"
    )
    job = folder / "mine.yaml"
    job.write_text(f"{JOB}architecture: {{family: custom, class: my_small_net:Net, width: 5}}\n")
    assert starting("submit", job, "--detach") == 0
    first = the_run(home)
    (folder / "my_small_net.py").unlink()
    assert starting("submit", f"run:{first.path.name}", "-d", "-o", "json") == 0
    shown = capsys.readouterr().out
    second = RunFolder(home / "runs" / json.loads(shown[shown.index("\n{") :])["id"])
    assert (second.code / "my_small_net.py").read_text() == (first.code / "my_small_net.py").read_text()
    assert str(folder) not in sys.path
