"""Loading a csv file of a million rows and 30 columns: the first time, against pandas' reading alone, and again.

A process of its own reads, checks, splits, fits and encodes the table as `stoker plan` and a worker do; the next one
maps what the first has left in the cache. Both must have found the same.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from pairing import Machine

ROWS = 1_000_000
JOB = "task: tabular-classification\ndataset: {{source: {data}, columns: {{label: y}}}}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps(look(arguments.run)))
        return
    machine = Machine()
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "table.csv"
        write(path)
        environment = {**os.environ, "STOKER_CACHE": f"{place}/cache"}
        command = [sys.executable, __file__, "--run", str(path)]
        found = []
        for _ in range(2):
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
            found.append(json.loads(done.stdout))
        began = time.perf_counter()
        pd.read_csv(path)
        reading = time.perf_counter() - began
    first, again = found
    assert first["fingerprint"] == again["fingerprint"]
    print(f"{ROWS:,} rows of 30 columns: {first['seconds']:.1f} s, of which pandas' reading is {reading:.1f} s")
    print(f"  again: {again['seconds']:.2f} s")
    machine.describe()


def write(path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(ROWS, 27)).round(4), columns=[f"x{number}" for number in range(27)])
    frame["colour"] = rng.choice(["red", "green", "blue"], ROWS)
    frame["day"] = rng.integers(0, 7, ROWS)
    frame["y"] = np.where(frame["x0"] + frame["x1"] > 0, "yes", "no")
    frame.to_csv(path, index=False)


def look(path: Path) -> dict[str, object]:
    from stoker.datasets.loading import load_dataset
    from stoker.job.task import TASKS
    from stoker.jobfile.loading import parse_job

    job = parse_job(JOB.format(data=path), "job").task_job
    began = time.perf_counter()
    data = load_dataset(job.dataset, TASKS[job.task])
    return {"seconds": time.perf_counter() - began, "fingerprint": data.fingerprint}


if __name__ == "__main__":
    main()
