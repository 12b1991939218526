"""Time from the SIGKILL of one of two workers to the first new step: Stoker against Ray Train with its defaults.

Both train on two CPU workers and resume from a checkpoint. Stoker's arm is one long run whose workers are killed
repeatedly; Ray Train's is a `TorchTrainer` with `max_failures`, once per round. Wall time: run it on an idle machine.
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil

from pairing import Machine
from stoker.tracking.run import State
from stoker.tracking.run_folder import RunFolder

JOB = """
name: recovery
task: image-classification
architecture: {family: mlp, hidden: [64]}
dataset: digits
training: {epochs: 1000000, precision: fp32, checkpoint: {every: 200 steps}}
resources: {workers: 2, cpus: 1, retries: 100}
tracking: none
"""
PEER = """
import os, signal, sys, tempfile, time
import ray, ray.train, torch
from ray.train.torch import TorchConfig, TorchTrainer
place = tempfile.mkdtemp()
def work(config):
    network, step = torch.nn.Linear(4, 2), 0
    if (last := ray.train.get_checkpoint()) is not None:
        with last.as_directory() as folder:
            step = torch.load(folder + "/state.pt")["step"]
    for step in range(step, 4):
        total = network(torch.ones(1, 4)).sum()
        torch.distributed.all_reduce(total.detach())
        killed = os.path.join(config["place"], "killed")
        if step == 2 and not os.path.exists(killed) and ray.train.get_context().get_world_rank() == 1:
            open(killed, "w").write(str(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)
        if os.path.exists(killed):
            open(os.path.join(config["place"], "again-%f" % time.time()), "w")
        with tempfile.TemporaryDirectory() as folder:
            torch.save({"step": step + 1}, folder + "/state.pt")
            ray.train.report({"step": step}, checkpoint=ray.train.Checkpoint.from_directory(folder))
ray.init(address="local", num_cpus=4, logging_level="error", log_to_driver=False, object_store_memory=100 * 2**20)
run = ray.train.RunConfig(name="r", storage_path=place, failure_config=ray.train.FailureConfig(max_failures=3))
TorchTrainer(work, train_loop_config={"place": place}, run_config=run,
             scaling_config=ray.train.ScalingConfig(num_workers=2)).fit()
killed = float(open(os.path.join(place, "killed")).read())
again = [float(name.split("-")[1]) for name in os.listdir(place) if name.startswith("again")]
print("seconds", min(time for time in again if time > killed + 0.5) - killed)
"""


def wait_until(condition: Callable[[], bool], deadline_s: float = 120.0) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"timed out after {deadline_s:.0f} s"
        time.sleep(0.01)


def recoveries(home: Path, kills: int) -> list[float]:
    """Return the recovery times of one run whose workers are killed at random moments."""
    (home / "job.yaml").write_text(JOB)
    stoker = [sys.executable, "-P", "-m", "stoker.cli.main", "--home", str(home)]
    submitted = subprocess.run([*stoker, "submit", str(home / "job.yaml"), "-d", "-o", "json"], capture_output=True)
    run = RunFolder(home / "runs" / json.loads(submitted.stdout)["id"])
    wait_until(lambda: run.progress().step > 300)
    found, draw = [], random.Random(0)
    for _ in range(kills):
        time.sleep(15 + 2 * draw.random())  # until a spare worker is ready again
        driver = run.driver_pid()
        assert driver is not None
        tree = psutil.Process(driver).children(recursive=True)
        workers = [process for process in tree if "".join(process.cmdline()[:1]).startswith("ray::Worker")]
        assert workers, f"no worker is alive: {run.record()}\n{run.log.read_text()[-2000:]}"
        victim = draw.choice(workers)
        attempt, begin, killed = run.status().attempt, time.monotonic(), time.time()
        os.kill(victim.pid, signal.SIGKILL)
        wait_until(partial(is_later_attempt, run, attempt))
        wait_until(partial(steps_since, run, killed))
        found.append(time.monotonic() - begin)
    assert run.record().state is State.RUNNING
    subprocess.run([*stoker, "cancel", run.path.name, "--wait"], check=True, capture_output=True)
    wait_until(lambda: not run.has_driver())
    return found


def is_later_attempt(run: RunFolder, attempt: int) -> bool:
    return run.status().attempt > attempt


def steps_since(run: RunFolder, killed: float) -> bool:
    """Return whether a step was taken after the kill, by progress that the new attempt has written."""
    written = (run.path / "progress.json").stat().st_mtime
    progress = run.progress()
    return written > killed + 0.3 and progress.phase == "training" and progress.step > run.status().checkpoint_step


def ray_train(rounds: int) -> list[float]:
    found = []
    for _ in range(rounds):
        done = subprocess.run([sys.executable, "-c", PEER], capture_output=True, text=True, timeout=300)
        lines = [line for line in done.stdout.splitlines() if line.startswith("seconds")]
        assert lines, done.stderr[-2000:]
        found.append(float(lines[0].split()[1]))
    return found


def report(name: str, seconds: list[float]) -> None:
    ordered = sorted(seconds)
    p95 = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    print(f"  {name:28} median {statistics.median(ordered):5.1f} s, p95 {p95:5.1f} s, {len(ordered)} kills")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    machine = Machine()
    with tempfile.TemporaryDirectory() as place:
        ours = recoveries(Path(place), options.kills)
    theirs = ray_train(options.rounds)
    print("From the SIGKILL of one of two workers to the first new step")
    report("stoker", ours)
    report("Ray Train, defaults", theirs)
    print(f"  {statistics.median(ours) / statistics.median(theirs):.2f} of Ray Train's time")
    machine.describe()
