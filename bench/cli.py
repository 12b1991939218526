"""Latency of the commands that do not train, against those of Ray, MLflow and torchrun.

The commands do not do the same work: `--help` and `--version` are the minimum of each program, and most of the time is
spent on imports. `ls` lists 20 runs, `validate` checks a correct and a wrong job file. The output is verified before
times are reported. Every arm is a whole process, measured in wall time.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from pairing import Lap, Machine, alternate, command, report
from stoker.tracking.run import RunHeader, RunStatus, State, now
from stoker.tracking.run_folder import RunFolder

RUNS = 20
GOOD = "task: tabular-classification\ndataset: iris\ntraining: {epochs: 3}\n"
BAD = "task: tabular-clasification\ndataset: {source: iris, split: {train: 2}}\ntraining: {epoch: 3}\n"


def make_home(home: Path) -> None:
    """Create the folders of finished runs."""
    for number in range(RUNS):
        name = f"bench-{number:08x}"
        folder = RunFolder(home / "runs" / name)
        header = RunHeader(name, "bench", "tabular-classification", "mlp", "iris", now(), number, "", "bench")
        folder.create(header, GOOD)
        folder.write_status(RunStatus(State.SUCCEEDED, started=now(), ended=now(), metrics={"accuracy/test": 0.9}))


def arm(
    words: list[str], environment: dict[str, str], expected: str, times: int = 1, code: int = 0
) -> Callable[[], Lap]:
    """Return an arm that runs a command and checks that it prints a text at least so many times."""

    def run() -> Lap:
        lap, printed = command(*words, environment=environment, code=code)
        assert printed.count(expected) >= times, f"{words} printed:\n{printed}"
        return lap

    return run


def compare(folder: Path, rounds: int) -> None:
    home = folder / "home"
    make_home(home)
    (folder / "good.yaml").write_text(GOOD)
    (folder / "bad.yaml").write_text(BAD)
    environment = {"STOKER_HOME": str(home), "XDG_CONFIG_HOME": str(folder), "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment |= {"RAY_USAGE_STATS_ENABLED": "0"}
    programs = Path(sys.executable).parent
    good, bad = str(folder / "good.yaml"), str(folder / "bad.yaml")
    commands: dict[str, tuple[list[str], str, int, int]] = {
        "stoker --help": (["stoker", "--help"], "submit", 1, 0),
        "stoker ls, 20 runs": (["stoker", "ls"], "bench-", RUNS, 0),
        "stoker validate, a good file": (["stoker", "validate", good], "fine", 1, 0),
        "stoker validate, three mistakes": (["stoker", "validate", bad], "3 problems", 1, 2),
        "ray --version": (["ray", "--version"], "ray, version", 1, 0),
        "mlflow --version": (["mlflow", "--version"], "mlflow, version", 1, 0),
        "torchrun --help": (["torchrun", "--help"], "--nproc", 1, 0),
        "python -c pass": (["python", "-c", "pass"], "", 1, 0),
    }
    arms = {
        name: arm([str(programs / words[0]), *words[1:]], environment, expected, times, code)
        for name, (words, expected, times, code) in commands.items()
    }
    machine = Machine()
    laps = alternate(arms, rounds)
    print("Commands, whole processes")
    report(laps, "ray --version", "wall_s", 1, "run")
    print("  the same by CPU seconds")
    report(laps, "ray --version", "cpu_s", 1, "run")
    machine.describe()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    with tempfile.TemporaryDirectory() as place:
        compare(Path(place), rounds)
