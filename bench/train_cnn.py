"""A small CNN through the platform, against a plain loop that is not tuned for speed.

Both arms train the same network from the same weights on the same batches in the same order, with the same loss,
weight decay and learning rates. The losses of all steps must agree before times are reported. The arms differ in their
implementation:

- stoker: the code path of a worker (allocator, resident uint8 images, channels last, fused AdamW), with loss, gradient
  norm and learning rate of every step recorded.
- plain: DataLoader over a TensorDataset of float images, contiguous weights, torch's default AdamW, glibc's default
  allocator; it records nothing.
- stoker bf16: as stoker, with `precision: bf16`. The arithmetic and so the losses differ; this row is for information.

Each arm is a process of its own, since the allocator's options apply to a whole process.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.nn import functional
from torch.optim import AdamW, lr_scheduler
from torch.utils.data import DataLoader, Sampler, TensorDataset

from pairing import Laps, Machine, Process, Training, alternate, check_equal, curve, report, serve
from stoker.architectures.network import build_network
from stoker.datasets.columns import Dense
from stoker.randomness import generator
from stoker.training.assembly import Prepared
from stoker.training.parallel import prepare_process
from workload import CNN_STEPS, cnn_job, on_cpu, recorded_steps

ARMS = ("stoker", "plain", "stoker bf16")
LAP = 20
TOLERANCE = 1e-3
"""Relative tolerance of the losses: the order of summation differs, and AdamW amplifies small differences."""


class SameOrder(Sampler[int]):
    """The platform's order of samples, so that both arms train on the same batches."""

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed, self._epoch = count, seed, 0

    def __iter__(self) -> Iterator[int]:
        order = torch.randperm(self._count, generator=generator(self._seed, "order", self._epoch))
        self._epoch += 1
        return iter(order.tolist())

    def __len__(self) -> int:
        return self._count


def plain_steps(prepared: Prepared) -> Iterator[torch.Tensor | None]:
    """Train with the loop of a tutorial; yield the loss of each step, and None after each epoch."""
    torch.manual_seed(prepared.job.training.seed)
    network = build_network(prepared.architecture, prepared.data.fields.signature)
    samples, field = prepared.data.parts["train"], prepared.data.fields.image
    pixels, every_label = samples.inputs["image"], samples.target
    assert isinstance(pixels, Dense)
    assert isinstance(every_label, Dense)
    every_image = field.prepare(pixels.values).contiguous()
    samplers = SameOrder(len(samples), prepared.job.training.seed)
    loader = DataLoader(
        TensorDataset(every_image, every_label.values), batch_size=prepared.batch_size, sampler=samplers
    )
    parameters = list(network.parameters())
    optimizer = AdamW(
        [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": 0.01},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=2e-3,
    )
    warmup = round(0.05 * prepared.steps)
    rise = lr_scheduler.LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
    fall = lr_scheduler.CosineAnnealingLR(optimizer, T_max=prepared.steps - warmup)
    scheduler = lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[warmup])
    network.train()
    while True:
        for images, labels in loader:
            loss = functional.cross_entropy(network({"image": images}), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call] # torch's
            optimizer.step()
            scheduler.step()
            yield loss.detach()
        yield None


def serve_arm(name: str, threads: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if name == "plain":
            torch.set_num_threads(threads)
        else:
            prepare_process(threads)
        prepared = cnn_job(Path(folder), epochs=2, precision="bf16" if name.endswith("bf16") else "fp32")
        steps = plain_steps(prepared) if name == "plain" else recorded_steps(on_cpu(prepared), Path(folder) / "run")
        serve(Training(steps, CNN_STEPS, LAP))


def compare(threads: int, rounds: int) -> None:
    machine = Machine()
    processes = {name: Process(__file__, "--arm", name, "--threads", str(threads)) for name in ARMS}
    first = {name: process() for name, process in processes.items()}
    difference = check_equal(first["stoker"].values, first["plain"].values, TOLERANCE)
    laps: Laps = alternate(processes, rounds)
    check_equal(curve(laps["stoker"]), curve(laps["plain"]), 10 * TOLERANCE)
    for process in processes.values():
        process.end()
    print(f"CNN, batch 128, {threads} thread(s); losses of the first {LAP} steps agree to {difference:.1g}")
    report(laps, "plain", "cpu_s" if threads == 1 else "wall_s", LAP, "step")
    machine.describe(torch=torch.__version__, threads=threads, malloc="mallopt in stoker's arms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--threads", type=int, default=1, help="more than 1 is measured in wall time: use an idle machine"
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        serve_arm(options.arm, options.threads)
    else:
        compare(options.threads, options.rounds)
