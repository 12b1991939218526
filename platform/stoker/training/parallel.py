"""Processes and devices of training: collectives of the workers, threads, allocator, precision."""

import ctypes
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from stoker.training.stopwatch import Stopwatch

Value = TypeVar("Value")
CPU = torch.device("cpu")
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD = -3, -1, -2
"""Numbers of glibc's mallopt options (malloc.h)."""


@dataclass(frozen=True)
class PendingSum:
    """An all-reduce in progress."""

    numbers: Tensor
    work: Any
    stopwatch: Stopwatch

    def wait(self) -> list[float]:
        """Return the sums."""
        with self.stopwatch.waiting():
            self.work.wait()
        sums: list[float] = self.numbers.tolist()
        return sums


@dataclass(frozen=True)
class Workers:
    """The processes that train one run, as one of them sees them.

    All of them call the same methods in the same order; with one worker, no method communicates.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = CPU
    stopwatch: Stopwatch = field(init=False, compare=False, repr=False)
    """Of this one's steps."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "stopwatch", Stopwatch(self.device))

    def share(self, total: int) -> range:
        """Return this worker's share of `total` rows; shares differ by one row at most."""
        return self.shares(total)[self.rank]

    def shares(self, total: int) -> list[range]:
        """Return the share of each worker of `total` rows, by rank."""
        return [range(rank * total // self.count, (rank + 1) * total // self.count) for rank in range(self.count)]

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over the workers, in place."""
        if self.count > 1:
            with self.stopwatch.waiting():
                dist.all_reduce(tensor)
        return tensor

    def start_sum(self, values: Sequence[float]) -> "PendingSum":
        """Start to sum numbers over the workers; on the CPU, without synchronising with a device."""
        numbers = torch.tensor(values, dtype=torch.float64)
        return PendingSum(numbers, dist.all_reduce(numbers, async_op=True), self.stopwatch)

    def broadcast_numbers(self, values: Sequence[float]) -> list[float]:
        """Return the first worker's numbers; on the CPU, without synchronising with a device."""
        if self.count == 1:
            return list(values)
        numbers = torch.tensor(values, dtype=torch.float64)
        with self.stopwatch.waiting():
            dist.broadcast(numbers, 0)
        return numbers.tolist()

    def broadcast_object(self, value: Value | None) -> Value:
        """Return the first worker's value, which may be any that can be pickled."""
        box: list[Any] = [value]
        if self.count > 1:
            dist.broadcast_object_list(box, 0)
        answer: Value = box[0]
        return answer

    def gather(self, value: Value) -> list[Value]:
        """Return the values of all workers by rank on the first one, an empty list on the others."""
        if self.count == 1:
            return [value]
        box: list[Any] | None = [None] * self.count if self.rank == 0 else None
        dist.gather_object(value, box, 0)
        return box or []

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Copy the first worker's tensors to all others, in place."""
        if self.count > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)


ALONE = Workers()


@contextmanager
def join(rank: int, count: int, device: torch.device, address: str, timeout_s: float) -> Iterator[Workers]:
    """Join the process group of a run, and leave it at the end of the block.

    Args:
        rank: this worker's number, from 0.
        count: number of workers; one alone needs no process group.
        device: where this worker computes; it selects the backend.
        address: `host:port` of the first worker, or `env://` if a launcher has set the environment.
        timeout_s: of a collective; after it a worker counts as lost.

    """
    if count == 1:
        yield Workers(device=device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        init_method=address if "://" in address else f"tcp://{address}",
        rank=rank,
        world_size=count,
        timeout=timedelta(seconds=timeout_s),
    )
    try:
        yield Workers(rank, count, device)
    finally:
        dist.destroy_process_group()


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory for the next step instead of returning it to the kernel.

    A small convolutional net otherwise spends a fifth to a half of each CPU step in page faults. Call it before the
    first large tensor. Returns False, without effect, with another C library.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    options = {M_MMAP_THRESHOLD: 1 << 30, M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: 64 << 20}
    return all(mallopt(option, value) == 1 for option, value in options.items())


def prepare_process(threads: int) -> None:
    """Set allocator, threads and matmul precision; call it before the first tensor."""
    keep_freed_memory()
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("highest")


def set_threads(threads: int | None) -> None:
    """Set the number of torch's threads; None keeps it."""
    if threads:
        torch.set_num_threads(threads)


def choose_device(gpus: int) -> torch.device:
    """Return the first GPU if the job has any, else the CPU."""
    return torch.device("cuda", 0) if gpus else torch.device("cpu")


def supports_bf16(device: torch.device) -> bool:
    """Return whether the device has bfloat16 in hardware; without it, bfloat16 is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private: another torch may lack them
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)


def arithmetic(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return the context of the forward pass's precision; weights, losses and optimizer stay in float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()
