"""An MLP of 20 million weights on two workers: gradients that are summed during backward, against other exchanges.

All arms are two processes of one thread with the same weights, batches and optimizer; each trains on half of every
batch of 128. They differ in when and how gradients are summed: Stoker's reducer, the same reducer after backward, two
exchanges after backward as written by hand (all gradients flattened, and one by one), and torch's
DistributedDataParallel with a static graph. All use the same allocator. The losses of all arms must agree, and those of
Stoker's be the same bits in a second run.
Wall time: run it on an idle machine.
"""

import itertools
from collections.abc import Callable, Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from pairing import Machine, Training, alternate, check_equal, curve, report
from stoker.training.parallel import Workers, prepare_process
from stoker.training.reduction import GradientReducer
from two_workers import WORKERS, joined, launched, run, serve_together

OURS, AFTER, DDP = "stoker", "the same after backward", "torch DDP, static graph"
FLAT, EACH = "flattened after backward", "one by one after backward"
ARMS = (OURS, AFTER, FLAT, EACH, DDP)
FEATURES, WIDTH, DEPTH, CLASSES = 1024, 2048, 5, 10
SHARE = 64
LAP = 10
TOLERANCE = 1e-3

Backward = Callable[[Tensor, Tensor], Tensor]
"""Computes the gradient of the global batch from rows and labels; returns the mean loss of its own half."""


def network() -> nn.Sequential:
    """Return an MLP with 19 million weights."""
    torch.manual_seed(0)
    widths = [FEATURES, *[WIDTH] * DEPTH]
    hidden = [each for a, b in itertools.pairwise(widths) for each in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(WIDTH, CLASSES))


def with_reducer(model: nn.Module, workers: Workers, during: bool) -> Backward:
    """Return the platform's exchange, during backward or after it."""
    reducer = GradientReducer(list(model.parameters()), workers)

    def backward(rows: Tensor, labels: Tensor) -> Tensor:
        loss = functional.cross_entropy(model(rows), labels)
        if during:
            reducer.begin([loss.detach()])
        (loss / WORKERS).backward()  # type: ignore[no-untyped-call]
        if not during:
            reducer.begin([loss.detach()])
        reducer.finish()
        return loss

    return backward


def by_hand(model: nn.Module, flattened: bool) -> Backward:
    """Return the exchange of someone who needs no library for it."""

    def backward(rows: Tensor, labels: Tensor) -> Tensor:
        loss = functional.cross_entropy(model(rows), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        for exchanged in [torch.cat([each.flatten() for each in gradients])] if flattened else gradients:
            dist.all_reduce(exchanged)
            exchanged /= WORKERS
        if flattened:
            for gradient, part in zip(
                gradients, torch.split(exchanged, [each.numel() for each in gradients]), strict=True
            ):
                gradient.copy_(part.view_as(gradient))
        return loss

    return backward


def with_ddp(model: nn.Module) -> Backward:
    """Return torch's exchange during backward."""
    parallel = DistributedDataParallel(model, static_graph=True)

    def backward(rows: Tensor, labels: Tensor) -> Tensor:
        loss = functional.cross_entropy(parallel(rows), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    return backward


def steps(name: str, workers: Workers) -> Iterator[Tensor]:
    """Train for ever; yields the loss of each step over this worker's half."""
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    if name == DDP:
        backward = with_ddp(model)
    elif name in (FLAT, EACH):
        backward = by_hand(model, flattened=name == FLAT)
    else:
        backward = with_reducer(model, workers, during=name == OURS)
    random = torch.Generator().manual_seed(workers.rank)
    rows = torch.randn(SHARE, FEATURES, generator=random)
    labels = torch.randint(0, CLASSES, (SHARE,), generator=random)
    while True:
        loss = backward(rows, labels)
        optimizer.step()
        optimizer.zero_grad()
        yield loss.detach()


def serve_arm(name: str) -> None:
    """Run one of the two processes of an arm."""
    prepare_process(1)
    with joined() as workers:
        serve_together(Training(steps(name, workers), LAP * 10**6, LAP), workers, averaged=True)


def compare(rounds: int) -> None:
    machine = Machine()
    processes = {name: launched(__file__, name) for name in ARMS}
    processes["stoker again"] = launched(__file__, OURS)
    laps = alternate(processes, rounds)
    for process in processes.values():
        process.end()
    for name in ARMS:
        check_equal(curve(laps[OURS]), curve(laps[name]), TOLERANCE)
    assert curve(laps[OURS]) == curve(laps.pop("stoker again")), "not the same bits in a second run"
    print(f"MLP of 19 million weights, {SHARE} rows a worker, {WORKERS} workers; the same bits in a second run")
    for peer in (AFTER, FLAT, EACH, DDP):
        report(laps, peer, "wall_s", LAP, "step")
    machine.describe(torch=torch.__version__, threads="1 a worker")


if __name__ == "__main__":
    run(__doc__, ARMS, serve_arm, compare, rounds=24)
