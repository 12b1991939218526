"""Sweeps against hand-written scripts, and against each other.

- empty: time of a trial that trains almost nothing (a perceptron on four samples), in Stoker's sweep with tracking off
  and on, against Ray Tune alone with reused actors, whose class trainable does the same training and nothing else.
- short: 32 trials of three epochs, `stoker submit` from start to end, against a script of 30 lines: a Ray Tune function
  trainable with Tune's defaults, the same network, data, points and epochs.
- asha: 32 trials of a convolutional network on digits with ASHA, against the same trials without a scheduler.
- tpe: median over five seeds of the best of 30 trials, TPE against random search.
- many: 200 trials with MLflow, `stoker submit` from start to end: the driver's memory over time, and the values in
  MLflow.

Wall time: run it on an idle machine.  python bench/sweep.py [empty short asha tpe many]
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import ray
from mlflow import MlflowClient
from ray import tune

from stoker.execution.driver import Driver
from stoker.execution.sweeps.driver import SweepDriver, SweepPlacement
from stoker.job.job import Job
from stoker.jobfile.loading import dump_job, parse_job
from stoker.jobfile.space.point import point_job
from stoker.tracking.ledger import read_trials
from stoker.tracking.run import RunHeader, State
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.trials import Trial, read_facts

CPUS = 2
EMPTY = """
name: empty
task: tabular-classification
architecture: perceptron
dataset: {source: xor, split: none}
training: {epochs: 1, batch_size: 4, precision: fp32}
resources: {cpus: 1, gpus: 0}
tracking: none
sweep: {trials: 64, parallel: 2, space: {training.optimizer.lr: {min: 1e-4, max: 1e-1, log: true}}}
"""
DIGITS = """
name: digits
task: image-classification
architecture: {family: mlp, hidden: [128, 64]}
dataset: {source: digits, split: {train: 0.7, val: 0.1, test: 0.2}}
training: {epochs: 27, batch_size: 32, precision: fp32}
resources: {cpus: 1, gpus: 0}
tracking: none
sweep:
  metric: accuracy/val
  trials: 32
  parallel: 2
  space:
    training.optimizer.lr: {min: 1e-4, max: 1e-1, log: true}
    training.optimizer.weight_decay: {min: 1e-4, max: 1e-1, log: true}
    architecture.hidden: [[32], [64], [128, 64]]
"""
SCRIPT = """
import sys, torch
from ray import tune
from sklearn.datasets import load_digits
points = __import__("json").loads(sys.argv[1])
def train(config):
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    train_rows, val_rows = order[:1257], order[1257:1437]
    torch.set_num_threads(1)
    sizes = [64, *config["hidden"], 10]
    layers = []
    for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
        layers += [torch.nn.Linear(a, b)] + ([torch.nn.ReLU()] if i < len(sizes) - 2 else [])
    network = torch.nn.Sequential(*layers)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config["lr"], weight_decay=config["weight_decay"])
    for epoch in range(3):
        for rows in train_rows[torch.randperm(len(train_rows))].split(32):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            accuracy = (network(x[val_rows]).argmax(1) == y[val_rows]).float().mean().item()
        tune.report({"accuracy": accuracy})
def unpacked(config):
    train(config["point"])
tuner = tune.Tuner(unpacked, param_space={"point": tune.grid_search(points)})
print("best", tuner.fit().get_best_result("accuracy", "max").metrics["accuracy"])
"""


def main() -> None:
    chosen = sys.argv[1:] or ["empty", "short", "asha", "tpe", "many"]
    whole_commands = {"short": short, "many": many}
    for name in chosen:
        if name in whole_commands:
            whole_commands[name]()
    rest = [name for name in chosen if name not in whole_commands]
    if rest:
        home = Path(tempfile.mkdtemp(prefix="stoker-"))
        os.environ["STOKER_HOME"] = str(home)
        ray.init(address="local", num_cpus=CPUS, include_dashboard=False, logging_level="error", log_to_driver=False)
        for name in rest:
            {"empty": empty, "asha": asha, "tpe": tpe}[name](home)
        ray.shutdown()


def drive(home: Path, job: Job, run: str, tracked: str = "") -> tuple[float, list[Trial], RunFolder]:
    """Run a sweep on the running Ray; return the seconds from its first to its last trial, its trials and folder."""
    folder = RunFolder(home / "runs" / f"{run}-00000000")
    folder.path.parent.mkdir(exist_ok=True)
    folder.create(RunHeader(folder.path.name, run, job.task, "mlp", "bench", 1.0, 1, tracked, run), dump_job(job))
    driver = Driver(folder, threading.Event())
    session = Path(tempfile.mkdtemp())
    assert driver.run(SweepDriver(driver, SweepPlacement(CPUS, shared_disk=True, session=session)).run) == 0
    trials = read_trials(folder.ledger)
    return max(trial.ended for trial in trials) - min(trial.began for trial in trials), trials, folder


class Bare(tune.Trainable):  # type: ignore[misc]
    """The training of an empty trial without anything else."""

    def setup(self, config: dict[str, Any]) -> None:
        self._job = parse_job(EMPTY, "empty.yaml").task_job
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._lr = new_config["lr"]
        return True

    def step(self) -> dict[str, Any]:
        from stoker.training.assembly import assemble
        from stoker.training.evaluation import evaluate
        from stoker.training.loop import start, train
        from stoker.training.preparation import prepare

        job = point_job(self._job, {"training.optimizer.lr": self._lr})
        assembly = assemble(prepare(job))
        for _ in train("bare", start(assembly)):
            pass
        return {"loss": evaluate(assembly, "train", "fp32")["loss"], "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save nothing."""

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Load nothing."""


def bare(trials: int) -> float:
    """Return the seconds from the first to the last trial of Ray Tune alone."""
    times: list[float] = []

    class Times(tune.Callback):  # type: ignore[misc]
        def on_trial_start(self, **_: Any) -> None:
            times.append(time.monotonic())

        def on_trial_complete(self, **_: Any) -> None:
            times.append(time.monotonic())

    tuner = tune.Tuner(
        tune.with_resources(Bare, {"cpu": 1}),
        param_space={"lr": tune.loguniform(1e-4, 1e-1)},
        tune_config=tune.TuneConfig(num_samples=trials, reuse_actors=True),
        run_config=tune.RunConfig(storage_path=tempfile.mkdtemp(), verbose=0, callbacks=[Times()]),
    )
    assert not tuner.fit().errors
    return times[-1] - times[0]


def empty(home: Path) -> None:
    """Measure the time per empty trial, from the difference of many and few trials, which cancels constant costs."""
    few, many, rounds = 16, 80, 3
    ratios, seconds = [], []
    for number in range(rounds):
        with_tune = (bare(many) - bare(few)) / (many - few)
        walls = {}
        for trials in (few, many):
            job = parse_job(EMPTY, "empty.yaml", [f"sweep.trials={trials}"]).task_job
            walls[trials], _, _ = drive(home, job, f"empty-{number}-{trials}")
        ours = (walls[many] - walls[few]) / (many - few)
        ratios.append(ours / with_tune)
        seconds.append((ours, with_tune))
        print(f"  round {number}: {ours:.3f} s against {with_tune:.3f} s per trial")
    ours, theirs = (statistics.median(each) for each in zip(*seconds, strict=True))
    ratio = statistics.median(ratios)
    print(f"empty trial, tracking off: {ours:.3f} s, Ray Tune alone {theirs:.3f} s; ratio {ratio:.2f} (bar 1.15)")
    walls = {}
    for trials in (few, many):
        job = parse_job(EMPTY, "empty.yaml", [f"sweep.trials={trials}", "tracking={}"]).task_job
        walls[trials], _, _ = drive(home, job, f"tracked-{trials}", f"sqlite:///{home}/mlflow.db")
    print(f"empty trial, tracking on: {(walls[many] - walls[few]) / (many - few):.3f} s")


def short() -> None:
    """Measure 32 short trials from the command to the end."""
    sets = ["training.epochs=3", "sweep.space.architecture.hidden=[[32], [64], [128, 64]]"]
    job = parse_job(DIGITS, "digits.yaml", sets).task_job
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "short.yaml"
        file.write_text(dump_job(job))
        environment = {**os.environ, "STOKER_HOME": f"{folder}/home"}
        begin = time.monotonic()
        command = [sys.executable, "-m", "stoker.cli.main", "submit", str(file)]
        subprocess.run(command, check=True, capture_output=True, env=environment)
        ours = time.monotonic() - begin
        run = RunFolder(next((Path(folder) / "home" / "runs").iterdir()))
        trials, facts = read_trials(run.ledger), read_facts(run)
        assert facts is not None
        points = [
            {
                "lr": trial.values["training.optimizer.lr"],
                "weight_decay": trial.values["training.optimizer.weight_decay"],
                "hidden": trial.values["architecture.hidden"],
            }
            for trial in trials
        ]
        best = max(trial.score("accuracy/val", "max") for trial in trials)
    begin = time.monotonic()
    command = [sys.executable, "-c", SCRIPT, json.dumps(points)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    theirs = time.monotonic() - begin
    print(f"32 short trials: {ours:.1f} s, by hand {theirs:.1f} s; {theirs / ours:.2f} times as fast (bar 3)")
    print(f"  best accuracy/val {best:.4f}, by hand {done.stdout.split()[-1]}")


def asha(home: Path) -> None:
    """Measure ASHA against the same trials without a scheduler."""
    network = ["architecture={family: cnn, channels: [16, 32]}"]
    scheduled = [*network, "sweep.scheduler={type: asha, min: 1 epoch, reduction: 3}"]
    text = DIGITS.replace("    architecture.hidden: [[32], [64], [128, 64]]\n", "")
    halved, trials, folder = drive(home, parse_job(text, "digits.yaml", scheduled).task_job, "halved")
    whole, _, _ = drive(home, parse_job(text, "digits.yaml", network).task_job, "whole")
    facts = read_facts(folder)
    assert facts is not None
    best = trials[facts.best or 0].metrics["accuracy/test"]
    print(f"asha: {halved:.1f} s, all to their ends {whole:.1f} s; ratio {halved / whole:.2f} (bar 0.5)")
    print(f"  best trial has accuracy/test {best:.4f} (bar 0.98)")


def many() -> None:
    """Measure the memory of the driver of 200 trials, and count the values in MLflow."""
    trials = 200
    sets = [f"sweep.trials={trials}", "training.epochs=3", "tracking={}"]
    with tempfile.TemporaryDirectory() as place:
        file, home = Path(place) / "many.yaml", Path(place) / "home"
        file.write_text(dump_job(parse_job(DIGITS, "digits.yaml", sets).task_job))
        environment = {**os.environ, "STOKER_HOME": str(home), "MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db"}
        begin = time.monotonic()
        command = [sys.executable, "-m", "stoker.cli.main", "submit", str(file)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
        memory: dict[int, float] = {}
        while process.poll() is None:
            time.sleep(1.0)
            for run in (home / "runs").glob("*"):
                folder = RunFolder(run)
                if folder.ledger.exists() and (driver := folder.driver_pid()) and psutil.pid_exists(driver):
                    ended = sum(trial.state.final for trial in read_trials(folder.ledger))
                    memory[ended] = psutil.Process(driver).memory_info().rss / 2**20
        seconds = time.monotonic() - begin
        succeeded = [trial for trial in read_trials(folder.ledger) if trial.state is State.SUCCEEDED]
        client = MlflowClient(f"sqlite:///{home}/mlflow.db")
        parent = folder.status().mlflow_run
        experiment = client.get_run(parent).info.experiment_id
        children = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{parent}'", max_results=1000)
        points = [len(client.get_metric_history(child.info.run_id, "accuracy/val")) for child in children]
    print(f"{trials} trials with MLflow: {seconds:.0f} s in total, {len(succeeded)} of them succeeded")
    print(f"  MLflow has {len(children)} of them, with {sum(points)} values of accuracy/val (expected: {3 * trials})")
    shown = [min(memory, key=lambda ended: abs(ended - at)) for at in (10, 50, 100, 150, trials)]
    print(f"  driver's memory: {', '.join(f'{memory[at]:.0f} MiB at {at}' for at in dict.fromkeys(shown))}")


def tpe(home: Path) -> None:
    """Compare the best of 30 trials of TPE and random search over five seeds."""
    medians = {}
    for kind in ("random", "tpe"):
        found = []
        for seed in range(5):
            sets = [
                f"sweep.search={{type: {kind}, seed: {seed}}}",
                "sweep.trials=30",
                "sweep.parallel=1",
                "training.epochs=3",
                "sweep.metric=loss/val",
            ]
            _, trials, _ = drive(home, parse_job(DIGITS, "digits.yaml", sets).task_job, f"{kind}-{seed}")
            found.append(min(trial.score("loss/val", "min") for trial in trials))
        medians[kind] = statistics.median(found)
        print(f"  {kind}: best loss/val of each seed {', '.join(f'{value:.4f}' for value in found)}")
    print(f"tpe: median of the best {medians['tpe']:.4f}, random {medians['random']:.4f} (bar: at most as high)")


if __name__ == "__main__":
    main()
