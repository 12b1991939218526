"""Cost of recording metrics, against mlflow.log_metrics at each step; both write to SQLite.

Recording: 1,000 steps with 4 metrics each, whose values are tensors as in training. All 4,000 values are read back from
both stores and must be equal before times are reported.

- stoker: Reporter to journal to Shipper, from the first step until the last value is in MLflow.
- mlflow.log_metrics: one synchronous call per step, as in MLflow's guides.
- log_batch of 1,000: MLflow's largest request with all values known in advance, the minimum cost of MLflow itself.

Overhead: training of an MLP through the platform's loop, with and without recording.

- every step recorded: as in a worker of a run of up to 2,000 steps; longer runs record 2,000 of their steps.
- without the norm: the same without gradient norms, which leaves the cost of the Reporter.

The journal is shipped by the run's driver in another process; its CPU time is in the first table only.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import SupportsFloat

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

import mlflow
import torch
from mlflow import MlflowClient
from mlflow.entities import Metric

from pairing import Lap, Machine, Training, alternate, check_equal, ratio, report, timed
from stoker.execution.reporter import Reporter
from stoker.tracking.journal import BATCH, Shipper
from stoker.tracking.mlflow_run import MlflowRun
from stoker.tracking.run import RunHeader, now
from stoker.tracking.run_folder import RunFolder
from stoker.training.assembly import Assembly
from stoker.training.events import StepEnd
from stoker.training.loop import start, train
from stoker.training.parallel import prepare_process
from workload import MLP_STEPS, mlp_job, on_cpu, recorded_steps

STEPS = 1_000
KEYS = ("loss/step", "penalty/step", "gradient_norm/step", "learning_rate/step")
NEVER = 1_000_000_000
PATIENCE_S = 60.0


def values(step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]:
    return torch.tensor(1 / step), torch.tensor(0.1), torch.tensor(step**0.5), 1e-3 / step


def named(numbers: Iterable[SupportsFloat]) -> dict[str, float]:
    return {key: float(number) for key, number in zip(KEYS, numbers, strict=True)}


class Recording:
    """Creates a new run for each lap of the arms, outside of the measured time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._laps = 0
        self._steps = [(step, values(step)) for step in range(1, STEPS + 1)]
        mlflow.set_tracking_uri(f"sqlite:///{folder / 'peer.db'}")
        mlflow.create_experiment("bench", artifact_location=str(folder / "files"))
        mlflow.set_experiment("bench")

    def stoker(self) -> Lap:
        self._laps += 1
        name = f"run-{self._laps}"
        uri = f"sqlite:///{self._folder / 'ours.db'}"
        folder = RunFolder(self._folder / name)
        folder.path.mkdir()
        header = RunHeader(name, "bench", "", "", "", now(), self._laps, uri, "bench")
        tracked = MlflowRun.open(header, uri, self._folder / "files", {})
        mlflow.set_tracking_uri(f"sqlite:///{self._folder / 'peer.db'}")  # `open` has set its own
        reporter, shipper = Reporter(folder), Shipper(folder.journal, tracked)

        def work() -> None:
            shipper.start()
            for step, (loss, penalty, norm, rate) in self._steps:
                event = StepEnd(
                    name,
                    0,
                    step,
                    {"loss": (loss, 1.0), "penalty": (penalty, 1.0)},
                    {"network": rate},
                    {"network": norm},
                )
                reporter.step(event, recorded=True)
            reporter.flush()
            assert shipper.close(PATIENCE_S) == 0

        lap = timed(work)
        return Lap(lap.wall_s, lap.cpu_s, stored(uri, tracked.run_id))

    def log_metrics(self) -> Lap:
        run = mlflow.start_run()

        def work() -> None:
            for step, numbers in self._steps:
                mlflow.log_metrics(named(numbers), step=step)

        lap = timed(work)
        mlflow.end_run()
        return Lap(lap.wall_s, lap.cpu_s, stored(mlflow.get_tracking_uri(), run.info.run_id))

    def log_batch(self) -> Lap:
        client, run = MlflowClient(), mlflow.start_run()

        def work() -> None:
            metrics = [
                Metric(key, number, step, step)
                for step, numbers in self._steps
                for key, number in named(numbers).items()
            ]
            for begin in range(0, len(metrics), BATCH):
                client.log_batch(run.info.run_id, metrics[begin : begin + BATCH], synchronous=True)

        lap = timed(work)
        mlflow.end_run()
        return Lap(lap.wall_s, lap.cpu_s, stored(mlflow.get_tracking_uri(), run.info.run_id))


def stored(uri: str, run_id: str) -> list[float]:
    """Return all values of a run, by key and step."""
    client = MlflowClient(uri)
    found = []
    for key in KEYS:
        history = sorted(client.get_metric_history(run_id, key), key=lambda metric: metric.step)
        assert [metric.step for metric in history] == list(range(1, STEPS + 1)), f"{key} is not complete"
        found += [metric.value for metric in history]
    return found


def bare_steps(assembly: Assembly) -> Iterator[torch.Tensor | None]:
    for event in train("bench", start(assembly), norm_every=NEVER):
        yield event.losses["loss"] if isinstance(event, StepEnd) else None


def compare_recording(folder: Path, rounds: int) -> None:
    recording = Recording(folder)
    arms: dict[str, Callable[[], Lap]] = {
        "stoker": recording.stoker,
        "mlflow.log_metrics": recording.log_metrics,
        "log_batch of 1,000": recording.log_batch,
    }
    first = {name: arm() for name, arm in arms.items()}  # this also creates the databases
    difference = max(check_equal(first["mlflow.log_metrics"].values, lap.values, 1e-12) for lap in first.values())
    machine = Machine()
    laps = alternate(arms, rounds)
    for done in laps.values():
        assert all(lap.values == done[0].values for lap in done)
    print(f"Recording {STEPS:,} steps of {len(KEYS)} metrics: all are in both stores, equal to {difference:.1g}")
    report(laps, "mlflow.log_metrics", "wall_s", STEPS * len(KEYS), "metric")
    print(f"  by CPU seconds: {ratio(laps, 'stoker', 'mlflow.log_metrics', 'cpu_s'):.1f} times cheaper")
    machine.describe(torch=torch.__version__, mlflow=mlflow.__version__, threads=1)


def compare_overhead(folder: Path, rounds: int) -> None:
    prepared = mlp_job(folder, epochs=rounds + 2)
    arms = {
        "nothing recorded": bare_steps(on_cpu(prepared)),
        "every step recorded": recorded_steps(on_cpu(prepared), folder / "recorded"),
        "without the norm": recorded_steps(on_cpu(prepared), folder / "without", norm_every=NEVER),
    }
    trainings = {name: Training(steps, MLP_STEPS, MLP_STEPS // 4) for name, steps in arms.items()}
    machine = Machine()
    first = {name: training() for name, training in trainings.items()}
    for lap in first.values():
        check_equal(first["nothing recorded"].values, lap.values, 1e-12)
    laps = alternate(trainings, 4 * rounds)
    print("Overhead for an MLP's step, batch 64")
    report(laps, "nothing recorded", "cpu_s", MLP_STEPS // 4, "step")
    machine.describe(torch=torch.__version__, threads=torch.get_num_threads(), malloc="mallopt")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    rounds = parser.parse_args().rounds
    prepare_process(1)
    with tempfile.TemporaryDirectory() as place:
        compare_recording(Path(place), rounds)
        compare_overhead(Path(place), rounds)
