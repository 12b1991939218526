"""Overhead of the platform's training loop over a hand-written loop with the same settings and recorded metrics.

Both arms train the same network from the same weights on the same batches, with the same allocator, memory layout,
fused optimizer, resident data and threads, and record loss, gradient norm and learning rate of every step as lines of
JSON. The losses of all steps must agree before times are reported. The difference is the overhead: events, the calls
between loop, batches and objective, weighted sums, and the detection of losses that are not finite.

- stoker: training.loop driven by execution's Reporter, as in a worker.
- by hand: the same with torch's schedulers, in one function.
- by hand, own schedule: the cosine as a formula, the minimum cost of the same training in Python.

The MLP's step takes a fraction of a millisecond, so that the overhead is visible; the CNN's step has a usual length.
All arms share one process and one thread, and are measured in CPU seconds.
"""

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW, lr_scheduler

from pairing import Laps, Machine, Training, alternate, check_equal, report
from stoker.datasets.columns import Dense
from stoker.randomness import generator
from stoker.training.assembly import Assembly
from stoker.training.parallel import prepare_process
from stoker.training.preparation import Prepared
from workload import CNN_STEPS, MLP_STEPS, cnn_job, mlp_job, on_cpu, recorded_steps

WRITTEN_STEPS = 100
"""Number of steps whose values the hand-written loop fetches and writes at once."""
TOLERANCE = 1e-5
LR, DECAY, WARMUP = 2e-3, 0.01, 0.05
"""The platform's defaults for AdamW with a cosine."""


def hand_steps(assembly: Assembly, log: Path, own_schedule: bool) -> Iterator[Tensor | None]:
    """Train by hand; yield the loss of each step, and None after each epoch."""
    prepared = assembly.prepared
    network = assembly.objective.groups()["network"]
    samples, inputs_of = assembly.parts["train"], picker(assembly)
    assert isinstance(samples.target, Dense)
    targets = samples.target.values
    count, size, seed = len(samples), prepared.batch_size, prepared.job.training.seed
    parameters = list(network.parameters())
    optimizer = AdamW(
        [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": DECAY},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=LR,
        fused=True,
    )
    advance = formula(optimizer, prepared.steps) if own_schedule else torch_schedule(optimizer, prepared.steps)
    kept: list[tuple[int, Tensor, Tensor, float]] = []
    step = epoch = 0
    network.train()
    with log.open("a", encoding="utf-8") as file:
        while True:
            order = torch.randperm(count, generator=generator(seed, "order", epoch))
            for begin in range(0, count, size):
                chosen = order[begin : begin + size]
                output = network(inputs_of(chosen))
                loss = functional.cross_entropy(output, targets.index_select(0, chosen))
                loss.backward()  # type: ignore[no-untyped-call] # torch's
                norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
                rate = optimizer.param_groups[0]["lr"]
                optimizer.step()
                optimizer.zero_grad()
                step += 1
                advance(step)
                loss = loss.detach()
                kept.append((step, loss, norm, rate))
                if len(kept) >= WRITTEN_STEPS:
                    write(file, kept)
                yield loss
            epoch += 1
            yield None


def picker(assembly: Assembly) -> Callable[[Tensor], Mapping[str, Tensor]]:
    """Pick resident rows; images are scaled on the way."""
    ((name, column),) = assembly.parts["train"].inputs.items()
    assert isinstance(column, Dense)
    if name == "numbers":
        return lambda chosen: {"numbers": column.values.index_select(0, chosen)}
    field, pixels = assembly.data.fields.image, column.values
    mean, scale = torch.tensor(field.mean), torch.tensor(field.scale)
    return lambda chosen: {"image": pixels.index_select(0, chosen).float().sub_(mean).div_(scale).permute(0, 3, 1, 2)}


def torch_schedule(optimizer: AdamW, steps: int) -> Callable[[int], object]:
    warmup = round(WARMUP * steps)
    rise = lr_scheduler.LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
    fall = lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps - warmup)
    scheduler = lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[warmup])
    return lambda step: scheduler.step()


def formula(optimizer: AdamW, steps: int) -> Callable[[int], object]:
    warmup = round(WARMUP * steps)

    def advance(step: int) -> None:
        if step < warmup:
            rate = LR * (1 + step) / (warmup + 1)
        else:
            rate = LR * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2
        for group in optimizer.param_groups:
            group["lr"] = rate

    advance(0)
    return advance


def write(file: Any, kept: list[tuple[int, Tensor, Tensor, float]]) -> None:
    for step, loss, norm, rate in kept:
        metrics = {"loss/step": float(loss), "gradient_norm/step": float(norm), "learning_rate/step": rate}
        file.write(json.dumps({"time": time.time_ns() // 1_000_000, "step": step, "metrics": metrics}) + "\n")
    kept.clear()
    file.flush()


def compare(name: str, prepared: Prepared, epoch: int, lap: int, rounds: int, folder: Path) -> Laps:
    arms = {
        "stoker": recorded_steps(on_cpu(prepared), folder / name),
        "by hand": hand_steps(on_cpu(prepared), folder / f"{name}-hand.jsonl", own_schedule=False),
        "by hand, own schedule": hand_steps(on_cpu(prepared), folder / f"{name}-formula.jsonl", own_schedule=True),
    }
    machine = Machine()
    trainings = {arm: Training(steps, epoch, lap) for arm, steps in arms.items()}
    first = {arm: training() for arm, training in trainings.items()}
    difference = max(check_equal(first["stoker"].values, lap.values, TOLERANCE) for lap in first.values())
    laps = alternate(trainings, rounds)
    print(f"{name}: losses of the first {lap} steps agree to {difference:.1g}")
    report(laps, "by hand", "cpu_s", lap, "step")
    machine.describe(torch=torch.__version__, threads=torch.get_num_threads(), malloc="mallopt")
    return laps


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    prepare_process(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        epochs = 1 + 2 * rounds
        compare("MLP, batch 64", mlp_job(folder, epochs), MLP_STEPS, MLP_STEPS, rounds, folder)
        compare("CNN, batch 128", cnn_job(folder, epochs=2), CNN_STEPS, 10, rounds, folder)
