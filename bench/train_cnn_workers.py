"""The small CNN on two workers: Stoker's loop against torch's DistributedDataParallel as in its tutorial.

Both arms are two processes under torchrun, one thread each, with the same weights, batches and order; each process
trains on half of every batch of 128. The losses of all steps must agree before times are reported. Wall time: run it on
an idle machine.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.optim import AdamW, lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

from pairing import Laps, Machine, Training, alternate, check_equal, curve, report
from stoker.architectures.network import build_network
from stoker.datasets.columns import Dense
from stoker.training.assembly import assemble
from stoker.training.events import StepEnd
from stoker.training.loop import start, train
from stoker.training.parallel import Workers, prepare_process
from stoker.training.preparation import Prepared
from two_workers import WORKERS, HalfOfEachBatch, joined, launched, run, serve_together
from workload import CNN_STEPS, cnn_job

ARMS = ("stoker", "torch DDP")
LAP = 20
TOLERANCE = 1e-3
NEVER = sys.maxsize


def ddp_steps(prepared: Prepared, rank: int) -> Iterator[torch.Tensor | None]:
    """Train with the loop of torch's tutorial; losses are averaged over the workers outside of the measured time."""
    torch.manual_seed(prepared.job.training.seed)
    network = build_network(prepared.architecture, prepared.data.fields.signature)
    samples, field = prepared.data.parts["train"], prepared.data.fields.image
    pixels, every_label = samples.inputs["image"], samples.target
    assert isinstance(pixels, Dense)
    assert isinstance(every_label, Dense)
    every_image = field.prepare(pixels.values).contiguous()
    sampler = HalfOfEachBatch(len(samples), prepared.batch_size, rank)
    loader = DataLoader(TensorDataset(every_image, every_label.values), prepared.batch_size // WORKERS, sampler=sampler)
    parallel = DistributedDataParallel(network)
    parameters = list(parallel.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": 0.01},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = AdamW(groups, lr=2e-3)
    warmup = round(0.05 * prepared.steps)
    rise = lr_scheduler.LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
    fall = lr_scheduler.CosineAnnealingLR(optimizer, T_max=prepared.steps - warmup)
    scheduler = lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[warmup])
    parallel.train()  # type: ignore[no-untyped-call]
    while True:
        for images, labels in loader:
            loss = functional.cross_entropy(parallel({"image": images}), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            scheduler.step()
            yield loss.detach()
        yield None


def stoker_steps(prepared: Prepared, workers: Workers) -> Iterator[torch.Tensor | None]:
    for event in train("bench", start(assemble(prepared, workers)), norm_every=NEVER):
        yield event.losses["loss"] if isinstance(event, StepEnd) else None


def serve_arm(name: str) -> None:
    """Run one of the two processes of an arm."""
    if name == "stoker":
        prepare_process(1)
    else:
        torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, joined() as workers:
        prepared = cnn_job(Path(folder), epochs=2)
        steps = stoker_steps(prepared, workers) if name == "stoker" else ddp_steps(prepared, workers.rank)
        serve_together(Training(steps, CNN_STEPS, LAP), workers, averaged=name != "stoker")


def compare(rounds: int) -> None:
    machine = Machine()
    processes = {name: launched(__file__, name) for name in ARMS}
    first = {name: process() for name, process in processes.items()}
    difference = check_equal(first["stoker"].values, first["torch DDP"].values, TOLERANCE)
    laps: Laps = alternate(processes, rounds)
    check_equal(curve(laps["stoker"]), curve(laps["torch DDP"]), 10 * TOLERANCE)
    for process in processes.values():
        process.end()
    print(f"CNN, batch 128 over {WORKERS} workers, fp32; losses of the first {LAP} steps agree to {difference:.1g}")
    report(laps, "torch DDP", "wall_s", LAP, "step")
    machine.describe(torch=torch.__version__, threads="1 a worker")


if __name__ == "__main__":
    run(__doc__, ARMS, serve_arm, compare, rounds=10)
