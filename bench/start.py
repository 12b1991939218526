"""Time from the submission of a job to its first step and to its end, with Ray running: Stoker, Ray Train and torchrun.

- two workers, until the job has ended: Stoker's driver (with evaluation and model) against a trivial `TorchTrainer.fit`
  with its defaults, each on its own warm Ray.
- one worker, until its first optimizer step: Stoker's driver against torchrun with a ten-line script.

Wall time: run it on an idle machine.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pairing import Machine
from stoker.execution.engines.table import LIBRARIES
from stoker.execution.ray_session import embedded_ray
from stoker.tracking.run import RunHeader
from stoker.tracking.run_folder import RunFolder

JOB = """
name: start
task: tabular-classification
architecture: {{family: mlp, hidden: [8]}}
dataset: iris
training: {{epochs: 1, batch_size: 64, precision: fp32}}
resources: {{workers: {workers}, cpus: 1, gpus: 0}}
tracking: none
"""
SETTLE_S = 25.0
"""Seconds until Ray's processes and its prestarted workers have finished their imports."""
FIT = """
import sys, tempfile, time
import ray, ray.train, torch
from ray.train.torch import TorchTrainer
def work():
    network = torch.nn.Linear(4, 2)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(8, 4)).sum().backward()
    optimizer.step()
ray.init(address="local", num_cpus=4, logging_level="error", log_to_driver=False, object_store_memory=100 * 2**20)
time.sleep(float(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    begin = time.monotonic()
    run = ray.train.RunConfig(storage_path=tempfile.mkdtemp())
    TorchTrainer(work, scaling_config=ray.train.ScalingConfig(num_workers=2), run_config=run).fit()
    print("seconds", time.monotonic() - begin)
"""
SCRIPT = """
import time, torch
import torch.distributed as dist
dist.init_process_group("gloo")
network = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 2))
optimizer = torch.optim.AdamW(network.parameters())
network(torch.ones(8, 4)).sum().backward()
optimizer.step()
print("step", time.time(), flush=True)
"""


def ours(rounds: int, home: Path) -> dict[int, tuple[list[float], list[float]]]:
    """Return the seconds to the first step and to the end of jobs on one Ray, by number of workers."""
    found: dict[int, tuple[list[float], list[float]]] = {}
    with embedded_ray(cpus=2, libraries=LIBRARIES):
        from stoker.execution.worker_group import WorkerGroup  # Ray reads its environment at import

        time.sleep(SETTLE_S)
        for workers in (2, 1):
            found[workers] = [], []
            for number in range(rounds):
                step, end = one_run(WorkerGroup, workers, home / "runs" / f"start-{workers}-{number}")
                found[workers][0].append(step)
                found[workers][1].append(end)
    return found


def one_run(group_of: Any, workers: int, path: Path) -> tuple[float, float]:
    """Take a run to its end; return the seconds to its first step and to its end."""
    from stoker.execution.supervisor import Supervisor, Timeouts

    begin, began = time.monotonic(), time.time()
    folder = RunFolder(path)
    folder.create(RunHeader(path.name, "start", "", "", "", began, time.time_ns(), "", ""), JOB.format(workers=workers))
    group = group_of(workers, 0, spare=False)
    group.start_attempt(folder, 1)
    result = Supervisor(group, lambda: None, lambda _: None, lambda *_: None, Timeouts()).run()
    group.close()
    assert result.outcome == "succeeded", result
    return first_step(folder) - began, time.monotonic() - begin


def first_step(folder: RunFolder) -> float:
    """Return the time of the first recorded step, in seconds since 1970."""
    from stoker.tracking.journal import read_journal

    entry, _ = next(read_journal(folder.journal))
    return entry.time_ms / 1000


def fits(rounds: int) -> list[float]:
    done = subprocess.run([sys.executable, "-c", FIT, str(SETTLE_S), str(rounds)], capture_output=True, text=True)
    found = [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("seconds")]
    assert len(found) == rounds, done.stderr[-2000:]
    return found


def torchruns(rounds: int, folder: Path) -> list[float]:
    script = folder / "script.py"
    script.write_text(SCRIPT)
    found = []
    for _ in range(rounds):
        begin = time.time()
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1", str(script)]
        done = subprocess.run(command, capture_output=True, text=True)
        found += [float(line.split()[1]) - begin for line in done.stdout.splitlines() if line.startswith("step")]
    return found


def report(name: str, seconds: list[float]) -> float:
    """Print and return the median of the times of an arm."""
    median = statistics.median(seconds)
    print(f"  {name:44} median {median:5.2f} s ({min(seconds):.2f} to {max(seconds):.2f}), {len(seconds)} times")
    return median


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    machine = Machine()
    with tempfile.TemporaryDirectory() as place:
        found = ours(rounds, Path(place))
        two, one = found[2][1], found[1][0]
        peers = fits(rounds)
        launched = torchruns(rounds, Path(place))
    print("Warm Ray, two workers, from submission to the end")
    ratio = report("stoker", two) / report("TorchTrainer.fit, defaults", peers)
    print(f"  {ratio:.2f} of TorchTrainer's time")
    print("Warm Ray, one worker, from submission to the first step")
    ratio = report("stoker", one) / report("torchrun", launched)
    print(f"  {ratio:.2f} of torchrun's time")
    machine.describe()
