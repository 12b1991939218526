"""Arms of two processes under torchrun, one thread each, that take their laps together."""

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch.utils.data import Sampler

from pairing import Lap, Process, Training, serve
from stoker.randomness import generator
from stoker.training.parallel import CPU, Workers, join

WORKERS = 2


class HalfOfEachBatch(Sampler[int]):
    """The platform's order of samples, restricted to this process's half of each global batch."""

    def __init__(self, count: int, batch_size: int, rank: int) -> None:
        self._count, self._batch_size, self._rank, self._epoch = count, batch_size, rank, 0

    def __iter__(self) -> Iterator[int]:
        order = torch.randperm(self._count, generator=generator(0, "order", self._epoch))
        self._epoch += 1
        halves = order.view(-1, WORKERS, self._batch_size // WORKERS)
        return iter(halves[:, self._rank].flatten().tolist())

    def __len__(self) -> int:
        return self._count // WORKERS


def run(
    doc: str, arms: Sequence[str], serve_arm: Callable[[str], None], compare: Callable[[int], None], rounds: int
) -> None:
    """Compare the arms, or be one of the two processes of an arm, as the command line says."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--arm", choices=arms, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        serve_arm(options.arm)
    else:
        compare(options.rounds)


def launched(file: str, arm: str) -> Process:
    """Start both processes of an arm: the file itself, with `--arm`."""
    return Process("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={WORKERS}", file, "--arm", arm)


@contextmanager
def joined() -> Iterator[Workers]:
    """Join the two processes."""
    with join(int(os.environ["RANK"]), WORKERS, CPU, "env://", 120.0) as workers:
        yield workers


def serve_together(training: Training, workers: Workers, averaged: bool) -> None:
    """Run the laps that the benchmark asks for; the first process gets the start of each and tells the other.

    Args:
        training: of this process.
        workers: both.
        averaged: whether losses are those of half a batch, and are averaged outside of the measured time.

    """

    def lap() -> Lap:
        done = training()
        values = torch.tensor(done.values, dtype=torch.float64)
        if averaged:
            dist.all_reduce(values)
            values /= WORKERS
        return Lap(done.wall_s, done.cpu_s, values.tolist())

    def first_lap() -> Lap:
        workers.broadcast_numbers([1.0])
        return lap()

    if workers.rank == 0:
        serve(first_lap)
        workers.broadcast_numbers([0.0])
    else:
        while workers.broadcast_numbers([0.0])[0]:
            lap()
