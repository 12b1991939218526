"""The processes and devices a network is trained on: workers and their sums, threads, allocator, precision."""

import ctypes
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

Value = TypeVar("Value")
CPU = torch.device("cpu")
BUCKET_BYTES = 32 << 20
"""Gradients travel in pieces of about this size, several at a time."""

M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD = -3, -1, -2
"""Numbers of glibc's mallopt options (malloc.h)."""


@dataclass(frozen=True)
class Workers:
    """The processes that train one run together, as one of them sees them.

    All of them call the same methods in the same order; alone, every method is free.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = CPU

    def share(self, total: int) -> range:
        """Return this worker's part of so many rows; parts differ by one at most."""
        return range(self.rank * total // self.count, (self.rank + 1) * total // self.count)

    def sum(self, tensor: Tensor) -> Tensor:
        """Add a tensor up over the workers, in place."""
        if self.count > 1:
            dist.all_reduce(tensor)
        return tensor

    def first(self, values: Sequence[float]) -> list[float]:
        """Return the first worker's numbers; on the CPU, so that no device is waited for."""
        if self.count == 1:
            return list(values)
        numbers = torch.tensor(values, dtype=torch.float64)
        dist.broadcast(numbers, 0)
        return numbers.tolist()

    def from_first(self, value: Value | None) -> Value:
        """Return the first worker's value, whatever it is."""
        box: list[Any] = [value]
        if self.count > 1:
            dist.broadcast_object_list(box, 0)
        answer: Value = box[0]
        return answer

    def to_first(self, value: Value) -> list[Value]:
        """Collect everybody's value, by rank, at the first worker; the others get an empty list."""
        if self.count == 1:
            return [value]
        box: list[Any] | None = [None] * self.count if self.rank == 0 else None
        dist.gather_object(value, box, 0)
        return box or []

    def same_state(self, tensors: Sequence[Tensor]) -> None:
        """Give everybody the first worker's content of tensors that are meant to be equal."""
        if self.count > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def sum_gradients(self, parameters: Sequence[nn.Parameter], numbers: Tensor) -> Tensor:
        """Add the gradients up over the workers, and return the sum of some float32 numbers that travel with them.

        The order of the additions depends on the shapes alone, so that the same step gives the same bits again; torch's
        DistributedDataParallel lays its buckets out anew after the first step. A gradient that nobody has stays None.
        """
        if self.count == 1:
            return numbers
        absent = [p.grad is None for p in parameters]
        for parameter, missing in zip(parameters, absent, strict=True):
            if missing:
                parameter.grad = torch.zeros_like(parameter)
        presence = torch.tensor([not missing for missing in absent], dtype=numbers.dtype, device=self.device)
        head = torch.cat([numbers, presence])
        waiting = []
        for bucket in _buckets([head, *[p.grad for p in parameters if p.grad is not None]]):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            waiting.append((flat, dist.all_reduce(flat, async_op=True), bucket))
        for flat, work, bucket in waiting:
            work.wait()
            pieces = torch.split(flat, [tensor.numel() for tensor in bucket])
            torch._foreach_copy_(bucket, [p.view_as(t) for p, t in zip(pieces, bucket, strict=True)])
        if any(absent):  # the others need not look: their own gradients are there
            for parameter, holders in zip(parameters, head[len(numbers) :].tolist(), strict=True):
                if not holders:
                    parameter.grad = None
        return head[: len(numbers)]


ALONE = Workers()


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Group tensors of one type by size, in order."""
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if bucket and (size + tensor.nbytes > BUCKET_BYTES or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.nbytes
    if bucket:
        yield bucket


@contextmanager
def join(rank: int, count: int, device: torch.device, address: str, timeout_s: float) -> Iterator[Workers]:
    """Meet the other workers of a run, and part with them at the end of the block.

    Args:
        rank: this worker's number, from 0.
        count: how many there are; one alone meets nobody.
        device: where this worker computes; it decides how gradients travel.
        address: `host:port` at which the first worker waits for the others; `env://` where a launcher has said so.
        timeout_s: a worker that is not heard of for so long is lost.

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
    """Tell glibc to keep freed memory for the next step instead of giving it back to the kernel page by page.

    A small convolutional net otherwise spends a fifth to a half of each CPU step in page faults. Call it before the
    first large tensor. Without effect, and False, where the C library is another one.
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
    """Set what must be set before the first tensor: allocator and threads."""
    keep_freed_memory()
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("highest")


def set_threads(threads: int | None) -> None:
    """Compute with so many threads from here on; None keeps their number."""
    if threads:
        torch.set_num_threads(threads)


def choose_device(gpus: int) -> torch.device:
    """Return the first GPU where one was asked for, the CPU otherwise."""
    return torch.device("cuda", 0) if gpus else torch.device("cpu")


def supports_bf16(device: torch.device) -> bool:
    """Tell whether the device computes in bfloat16 in hardware; elsewhere it is only slower."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private: a torch without them has no answer
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)


def arithmetic(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Enter the precision of the network's forward pass; weights, losses and optimizer stay in float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()
