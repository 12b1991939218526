"""Time for which a checkpoint of 300 MB blocks training: Stoker against torch.save, with and without fsync.

Run it with `python bench/checkpoint.py`; --rounds sets the number of checkpoints of each arm.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import torch

from pairing import Lap, Machine, alternate, report, timed
from stoker.jobfile.loading import parse_job
from stoker.storage import open_storage
from stoker.training.assembly import assemble
from stoker.training.checkpoint import Checkpoints
from stoker.training.loop import start, train
from stoker.training.parallel import prepare_process
from stoker.training.preparation import prepare
from stoker.training.state import TrainingState

JOB = """
task: tabular-classification
architecture: {family: mlp, hidden: [5000, 5000]}
dataset: iris
training: {epochs: 1000, batch_size: 32, precision: fp32, optimizer: adamw}
"""


def trained_state() -> TrainingState:
    """Return the state after two steps, when the optimizer has its moments."""
    state = start(assemble(prepare(parse_job(JOB, "bench").task_job)))
    events = train("bench", state)
    for _ in range(2):
        next(events)
    return state


def torch_save(state: TrainingState, file: Path, durable: bool) -> None:
    content = {
        "objective": state.assembly.objective.state_dict(),
        "optimizers": [optimizer.state_dict() for group in state.optimizers.values() for optimizer in group],
        "rng": torch.get_rng_state(),
    }
    torch.save(content, file)
    if durable:
        with file.open("rb") as written:
            os.fsync(written.fileno())


def compare(folder: Path, rounds: int) -> None:
    state = trained_state()
    checkpoints = Checkpoints(open_storage(str(folder / "ours")), "", 1, 1)
    written_s: list[float] = []

    def ours() -> Lap:
        begin = time.perf_counter()
        lap = timed(lambda: checkpoints.save(state))
        checkpoints.finish()  # not part of the lap: training continues during this
        written_s.append(time.perf_counter() - begin)
        state.step += 1
        return lap

    arms = {
        "torch.save": lambda: timed(lambda: torch_save(state, folder / "a.pt", durable=False)),
        "torch.save and fsync": lambda: timed(lambda: torch_save(state, folder / "b.pt", durable=True)),
        "stoker": ours,
    }
    machine = Machine()
    laps = alternate(arms, rounds + 1)
    size = sum(file.stat().st_size for file in (folder / "ours").rglob("*.safetensors"))
    print(f"Training blocked by a checkpoint of {size / 1e6:.0f} MB")
    report(laps, "torch.save", "wall_s", 1, "checkpoint")
    print(f"  written, hashed and committed in the background after {sorted(written_s)[len(written_s) // 2]:.2f} s")
    machine.describe(torch=torch.__version__, threads=torch.get_num_threads())
    resumed = start(assemble(prepare(parse_job(JOB, "bench").task_job)))
    begin = time.perf_counter()
    restored = Checkpoints(open_storage(str(folder / "ours")), "", 1, 2).restore(resumed)
    assert restored is not None
    assert all(torch.equal(a, b) for a, b in zip(state.weights().values(), resumed.weights().values(), strict=True))
    print(f"  found, verified and loaded in {time.perf_counter() - begin:.2f} s: the same weights")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    prepare_process(1)
    with tempfile.TemporaryDirectory() as place:
        compare(Path(place), parser.parse_args().rounds)
