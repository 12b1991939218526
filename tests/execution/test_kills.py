"""Thirty random kills: every run ends like an uninterrupted one."""

import json
import os
import random
import signal
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from stoker.errors import Cause
from stoker.storage import open_storage, read_manifest
from stoker.tracking.journal import read_journal
from stoker.tracking.run import State
from stoker.tracking.run_folder import RunFolder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

PROBES = Path(__file__).parents[1] / "probes"
CNN = """
name: cnn
task: image-classification
architecture: {family: cnn, channels: [8, 16]}
dataset: digits
training: {epochs: 12, batch_size: 32, precision: fp32}
"""
LENGTHS = {"wgan_gp": 400, "char_rnn": 150, "denoising": 120, "boxes": 120, "cnn": 12}
"""Epochs that take some ten seconds."""
CPUS = "resources.cpus=1"


def write_text_table(path: Path, window: int = 6, rows: int = 100) -> None:
    text = "the-cat-sat-on-the-mat_and-the-hat-sat-on-the-cat_a-man-had-a-hat_the-man-had-a-cat_" * 20
    lines = [",".join([*(f"c{i}" for i in range(window)), "next"])]
    lines += [",".join(text[row * window : (row + 1) * window + 1]) for row in range(rows)]
    path.write_text("\n".join(lines), encoding="utf-8")


def job_of(name: str, folder: Path) -> Path:
    """Write a job and its code to a folder."""
    if name == "cnn":
        text = CNN
    else:
        write_text_table(folder / "text.csv")
        text = (PROBES / f"{name}.yaml").read_text().replace("DATA", str(folder / "text.csv"))
        (folder / f"{name}.py").write_text((PROBES / f"{name}.py").read_text())
    (folder / f"{name}.yaml").write_text(text)
    return folder / f"{name}.yaml"


def state_of(run: RunFolder) -> list[str]:
    """Hash the last checkpoint without its clock, and the model."""
    storage = open_storage(str(run.checkpoints))
    newest = max(key.rsplit("/", 1)[0] for key in storage.keys("") if key.endswith("manifest.json"))
    manifest = read_manifest(storage, newest)
    hashes = [f"{name} {digest.sha256}" for name, digest in sorted(manifest.files.items()) if name.endswith("tensors")]
    for name in sorted(manifest.files):
        if name.endswith(".json"):
            facts = json.loads(storage.get(f"{newest}/{name}"))["facts"]
            hashes.append(json.dumps({key: value for key, value in facts.items() if key != "seconds"}))
    return [*hashes, (run.model / "weights.safetensors").read_bytes().hex()]


def points_of(run: RunFolder) -> list[tuple[str, int, float]]:
    """Return every value of the journal, and check that each key and step occurs once."""
    points = [(k, e.step, v) for e, _ in read_journal(run.journal) for k, v in e.metrics.items()]
    assert len({(key, step) for key, step, _ in points}) == len(points), "a metric is in the journal twice"
    return sorted(points)


def check_recorded(home, run: RunFolder) -> None:
    """Check that every value of the journal is in MLflow, once."""
    client = MlflowClient(f"sqlite:///{home.path / 'mlflow.db'}")
    status = run.record().status
    by_key: dict[str, list[int]] = {}
    for key, step, _ in points_of(run):
        by_key.setdefault(key, []).append(step)
    for key, steps in by_key.items():
        assert sorted(metric.step for metric in client.get_metric_history(status.mlflow_run, key)) == sorted(steps)


def workers_of(run: RunFolder) -> list[psutil.Process]:
    """Find the training processes; Ray renames each shortly after it has started."""
    tree = psutil.Process(run.driver_pid()).children(recursive=True)
    return [process for process in tree if "".join(process.cmdline()[:1]).startswith("ray::Worker")]


def kill(what: str, run: RunFolder, dice: random.Random, until) -> bool:
    """Kill a worker, the driver, or all of them; return whether the run must be resumed."""
    driver = psutil.Process(run.driver_pid())
    if what == "worker":
        until(lambda: workers_of(run), "a worker")
        targets = [dice.choice(workers_of(run))]
    else:
        targets = [driver] if what == "driver" else [driver, *driver.children(recursive=True)]
    for target in targets:
        os.kill(target.pid, signal.SIGKILL)
    return what != "worker"


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", LENGTHS)
def test_three_kills_of_a_run_do_not_change_its_result(name, workers, home, tmp_path, until):
    dice = random.Random(f"{name}{workers}")
    sets = ["--set", f"training.epochs={LENGTHS[name]}", "--set", f"resources.workers={workers}", "--set", CPUS]
    job = job_of(name, tmp_path)
    undisturbed = home.run(home.json("submit", job, *sets)["id"])
    run = home.run(home.json("submit", job, *sets, "--detach")["id"])
    kills = ["worker", "driver", "all"]
    dice.shuffle(kills)
    steps = undisturbed.progress().steps
    for number, what in enumerate(kills):
        target = int(steps * (0.08 + 0.28 * number + 0.2 * dice.random()))
        until(lambda target=target: run.progress().step >= target or run.record().state.ended, f"step {target}", 200)
        assert not run.record().state.ended, home.logs()
        if kill(what, run, dice, until):
            until(lambda: not run.has_driver(), "the lease to end")
            assert run.record().state is State.INTERRUPTED
            home.stoker("resume", run.path.name, "--detach")
        else:
            before = run.record().status.attempt
            until(
                lambda before=before: run.record().status.attempt > before or run.record().state.ended, "a retry", 200
            )
    until(lambda: run.record().state.ended, "the end", 240)
    assert run.record().state is State.SUCCEEDED, home.logs()
    assert any(f": {Cause.INFRASTRUCTURE}: " in line for line in run.record().status.failures)  # the killed worker
    assert state_of(run) == state_of(undisturbed)
    assert points_of(run) == points_of(undisturbed)
    check_recorded(home, run)
    until(lambda: not run.has_driver(), "the driver to go")
