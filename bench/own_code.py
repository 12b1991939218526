"""Own code with Ray running, from submission to the end: Stoker against Ray Train alone, and against torchrun.

- a training function on two workers, with a report and a checkpoint an epoch: Stoker's attempt, with journal and
  position, against `TorchTrainer.fit` with the same function.
- a script on two workers, with gloo: Stoker's workers against torchrun.

Each arm has a Ray of its own that is warm. Wall time: run it on an idle machine.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pairing import Machine
from start import SETTLE_S, report
from stoker.execution.attempts import Attempts, GroupAttempts, Watch
from stoker.execution.ray_session import embedded_ray
from stoker.tracking.journal import read_journal
from stoker.tracking.run import RunHeader
from stoker.tracking.run_folder import RunFolder

EPOCHS = 20
LOOP = """
def epochs(network, optimizer, rank):
    for epoch in range({epochs}):
        torch.manual_seed(epoch)
        for batch in torch.randn(100, 64, 32).unbind():
            loss = (network(batch) - batch.sum(1, keepdim=True)).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield epoch, loss.item()
"""
FUNCTION = (
    """
import tempfile
from pathlib import Path
import torch
from ray import train
from ray.train.torch import prepare_model

def fit(settings):
    network = prepare_model(torch.nn.Sequential(torch.nn.Linear(32, 256), torch.nn.ReLU(), torch.nn.Linear(256, 1)))
    optimizer = torch.optim.AdamW(network.parameters())
    rank = train.get_context().get_world_rank()
    for epoch, loss in epochs(network, optimizer, rank):
        with tempfile.TemporaryDirectory() as folder:
            torch.save(network.module.state_dict(), Path(folder) / "state.pt")
            saved = train.Checkpoint.from_directory(folder) if rank == 0 else None
            train.report({{"epoch": epoch, "loss": loss}}, checkpoint=saved)
"""
    + LOOP
).format(epochs=EPOCHS)
SCRIPT = (
    """
import os
from pathlib import Path
import torch
import torch.distributed as dist
"""
    + LOOP
    + """
dist.init_process_group("gloo")
network = torch.nn.Sequential(torch.nn.Linear(32, 256), torch.nn.ReLU(), torch.nn.Linear(256, 1))
network = torch.nn.parallel.DistributedDataParallel(network)
optimizer = torch.optim.AdamW(network.parameters())
for epoch, loss in epochs(network, optimizer, dist.get_rank()):
    if dist.get_rank() == 0:
        torch.save(network.module.state_dict(), Path(os.environ["STOKER_CHECKPOINT_DIR"]) / "state.pt")
        print("epoch", epoch, loss, flush=True)
dist.destroy_process_group()
"""
).format(epochs=EPOCHS)
FIT = """
import sys, tempfile, time
import ray, ray.train
from ray.train.torch import TorchTrainer
place = sys.argv[3]
ray.init(address="local", num_cpus=4, logging_level="error", log_to_driver=False, object_store_memory=100 * 2**20)
ray.get(ray.remote(lambda: None).remote())
time.sleep(float(sys.argv[1]))
def work(settings):
    sys.path.insert(0, place)
    import function
    function.fit(settings)
for _ in range(int(sys.argv[2])):
    begin = time.monotonic()
    kept = ray.train.CheckpointConfig(num_to_keep=2)
    run = ray.train.RunConfig(storage_path=tempfile.mkdtemp(dir=place), checkpoint_config=kept)
    scaling = ray.train.ScalingConfig(num_workers=2)
    TorchTrainer(work, train_loop_config={}, scaling_config=scaling, run_config=run).fit()
    print("seconds", time.monotonic() - begin, flush=True)
"""


def ours(entrypoint: str, rounds: int, home: Path) -> list[float]:
    """Return the seconds of runs of an entrypoint on one Ray."""
    function = ":" in entrypoint
    with embedded_ray(cpus=2, dashboard=function):
        if function:
            import stoker.execution.ray_train.attempts  # noqa: F401 - as the driver does while the job is planned
        from stoker.execution.worker_group import WorkerGroup  # Ray reads its environment at import

        time.sleep(SETTLE_S)
        found = []
        for number in range(rounds):
            begin = time.monotonic()
            folder = run_folder(home / f"{entrypoint.partition('.')[0].partition(':')[0]}-{number}", entrypoint)
            attempts: Attempts
            if function:
                from stoker.execution.ray_train.attempts import RayTrainAttempts
                from stoker.job.own_code import CodeJob
                from stoker.jobfile.loading import load_job

                job = load_job(folder.job).job
                assert isinstance(job, CodeJob)
                attempts = RayTrainAttempts(job, shared_disk=True)
            else:
                group = WorkerGroup(2, 0, spare=False, libraries=())
                attempts = GroupAttempts(group)
            result = attempts.run(folder, 1, Watch(lambda: None, lambda _: None, lambda _: None, lambda *_: None))
            if not function:
                group.close()
            found.append(time.monotonic() - begin)
            assert result.outcome == "succeeded", result
            if function:
                assert len([*read_journal(folder.journal)]) == EPOCHS
        return found


def run_folder(path: Path, entrypoint: str) -> RunFolder:
    """Create the folder of a run with its code."""
    folder = RunFolder(path)
    text = f"name: own\nentrypoint: {entrypoint}\nresources: {{workers: 2, cpus: 1, gpus: 0}}\ntracking: none\n"
    folder.create(RunHeader(path.name, "own", "", "", "", time.time(), time.time_ns(), "", "", own_code=True), text)
    folder.code.mkdir(exist_ok=True)
    (folder.code / "function.py").write_text(FUNCTION)
    (folder.code / "script.py").write_text(SCRIPT)
    return folder


def fits(rounds: int, folder: Path) -> list[float]:
    """Return the seconds of `TorchTrainer.fit` with the same function."""
    (folder / "function.py").write_text(FUNCTION)
    command = [sys.executable, "-c", FIT, str(SETTLE_S), str(rounds), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    found = [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("seconds")]
    assert len(found) == rounds, done.stderr[-2000:]
    return found


def torchruns(rounds: int, folder: Path) -> list[float]:
    """Return the seconds of torchrun with the same script."""
    (folder / "script.py").write_text(SCRIPT)
    found = []
    for _ in range(rounds):
        begin = time.monotonic()
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        environment = {"STOKER_CHECKPOINT_DIR": str(folder), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
        subprocess.run([*command, str(folder / "script.py")], check=True, capture_output=True, env=environment)
        found.append(time.monotonic() - begin)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4, help="the first one is a warm-up, and dropped")
    parser.add_argument("--only", choices=("function", "script"), help="default: both, each in a process of its own")
    chosen = parser.parse_args()
    if not chosen.only:
        for kind in ("function", "script"):
            subprocess.run([sys.executable, __file__, "--rounds", str(chosen.rounds), "--only", kind], check=True)
        sys.exit()
    machine = Machine()
    with tempfile.TemporaryDirectory() as home:
        place = Path(home)
        if chosen.only == "function":
            print("A training function on two workers, from submission to the end")
            mine, peer, name = (
                ours("function:fit", chosen.rounds, place),
                fits(chosen.rounds, place),
                "TorchTrainer.fit",
            )
        else:
            print("A script on two workers, from submission to the end")
            mine, peer, name = ours("script.py", chosen.rounds, place), torchruns(chosen.rounds, place), "torchrun"
    ratio = report("stoker", mine[1:]) / report(name, peer[1:])
    print(f"  {ratio:.2f} of the time of {name}")
    machine.describe()
