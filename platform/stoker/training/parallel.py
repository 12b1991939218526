"""Processes and devices of training: collectives of the workers, threads, allocator, precision."""

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
FIRST_BUCKET_BYTES, BUCKET_BYTES = 1 << 20, 16 << 20
"""Gradients are all-reduced in buckets of about this size, several at a time."""

M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD = -3, -1, -2
"""Numbers of glibc's mallopt options (malloc.h)."""


@dataclass(frozen=True)
class PendingSum:
    """An all-reduce in progress."""

    numbers: Tensor
    work: Any

    def wait(self) -> list[float]:
        """Return the sums."""
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

    def share(self, total: int) -> range:
        """Return this worker's share of `total` rows; shares differ by one row at most."""
        return range(self.rank * total // self.count, (self.rank + 1) * total // self.count)

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over the workers, in place."""
        if self.count > 1:
            dist.all_reduce(tensor)
        return tensor

    def start_sum(self, values: Sequence[float]) -> "PendingSum":
        """Start to sum numbers over the workers; on the CPU, without synchronising with a device."""
        numbers = torch.tensor(values, dtype=torch.float64)
        return PendingSum(numbers, dist.all_reduce(numbers, async_op=True))

    def broadcast_numbers(self, values: Sequence[float]) -> list[float]:
        """Return the first worker's numbers; on the CPU, without synchronising with a device."""
        if self.count == 1:
            return list(values)
        numbers = torch.tensor(values, dtype=torch.float64)
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


class GradientReducer:
    """Sums gradients over the workers during the backward pass.

    Buckets are all-reduced in the reverse order of the parameters, which is about the order in which backward finishes
    them. Buckets and their order depend on the shapes alone, so that the same step is bitwise reproducible; torch's
    DistributedDataParallel rebuilds its buckets after the first step. A gradient that no worker has stays None.

    Args:
        parameters: of one turn.
        workers: of the run.

    """

    def __init__(self, parameters: Sequence[nn.Parameter], workers: Workers) -> None:
        self.parameters = list(parameters)
        self._workers = workers
        self._active = False
        if workers.count == 1:
            return
        self._buckets = list(buckets(list(reversed(self.parameters)))) or [[]]
        self._bucket_of = {id(p): number for number, bucket in enumerate(self._buckets) for p in bucket}
        self._missing = [len(bucket) for bucket in self._buckets]
        self._numbers: list[Tensor] = []
        self._absent: list[nn.Parameter] = []
        self._waiting: list[tuple[Tensor, Any]] = []
        for parameter in self.parameters:
            parameter.register_post_accumulate_grad_hook(self._ready)  # type: ignore[no-untyped-call]

    @property
    def defers_division(self) -> bool:
        """Return whether gradients are divided after their reduction, if all of them are by the same number."""
        return self._workers.count > 1

    def idle_passes(self, own: int) -> int:
        """Return how many more passes another worker makes: they do not matter here."""
        return 0

    def norm(self) -> Tensor:
        """Return the norm of all gradients together."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        return norm

    def clip(self, limit: float) -> Tensor:
        """Clip the gradient to a maximum norm; return its norm before."""
        return nn.utils.clip_grad_norm_(self.parameters, limit)

    def begin(self, numbers: Sequence[Tensor]) -> None:
        """Reduce each bucket as soon as the next backward pass has computed all of its gradients.

        Args:
            numbers: scalars that are summed, too; they travel with the last bucket.

        """
        self._numbers = list(numbers)
        self._active = self._workers.count > 1
        if self._active:
            self._missing = [len(bucket) for bucket in self._buckets]
            self._waiting.clear()
            self._absent.clear()

    def finish(self, divisor: Tensor | int | None = None) -> list[Tensor]:
        """Wait for the gradients, and return the sums of the numbers over the workers.

        Args:
            divisor: place of the number by whose sum the gradients are divided; None leaves them.

        """
        if not self._active:
            return self._numbers
        self._active = False
        self._missing = [0] * len(self._buckets)
        self._send()
        for _, work in self._waiting:
            work.wait()
        rest, count = len(self.parameters), len(self._numbers)
        head = self._waiting[-1][0][-count - rest :]
        sums = list(head[:count].to(torch.float32, copy=True).unbind())  # a view would keep the whole bucket
        share = None if divisor is None else reciprocal(sums[divisor])
        for (flat, _), bucket in zip(self._waiting, self._buckets, strict=False):
            if not bucket:
                continue
            values = flat[: sum(p.numel() for p in bucket)]
            if share is not None:
                values.mul_(share)
            pieces = torch.split(values, [p.numel() for p in bucket])
            gradients = [p.grad for p in bucket if p.grad is not None]
            torch._foreach_copy_(gradients, [piece.view_as(p) for piece, p in zip(pieces, bucket, strict=True)])
        if self._absent:  # a worker with all of its gradients needs no check, nor a synchronisation
            for parameter, holders in zip(self.parameters, head[count:].tolist(), strict=True):
                if not holders:
                    parameter.grad = None
        return sums

    def _ready(self, parameter: Tensor) -> None:
        if self._active:
            self._missing[self._bucket_of[id(parameter)]] -= 1
            self._send()

    def _send(self) -> None:
        """Reduce the complete buckets in order; parameters without a gradient count as zeros."""
        while len(self._waiting) < len(self._buckets) and self._missing[len(self._waiting)] == 0:
            bucket = self._buckets[len(self._waiting)]
            for parameter in bucket:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                    self._absent.append(parameter)
            pieces = [p.grad.reshape(-1) for p in bucket if p.grad is not None]
            last = len(self._waiting) == len(self._buckets) - 1
            self._reduce([*pieces, *self._head()] if last else pieces)

    def _head(self) -> list[Tensor]:
        """Return the numbers, and for each parameter whether it has a gradient, which the last bucket settles."""
        absent = {id(parameter) for parameter in self._absent}
        device = self._workers.device
        present = torch.tensor([float(id(p) not in absent) for p in self.parameters], device=device)
        return [torch.stack([number.to(device, torch.float32) for number in self._numbers]), present]

    def _reduce(self, pieces: list[Tensor]) -> None:
        flat = torch.cat(pieces)
        self._waiting.append((flat, dist.all_reduce(flat, async_op=True)))


def reciprocal(count: Tensor) -> Tensor:
    """Return 1 / count; finite for a count of 0."""
    return count.clamp(min=torch.finfo(count.dtype).tiny).reciprocal()


def buckets(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Group parameters of one type by size, in order; the first bucket is small, so that its reduction starts early."""
    bucket: list[nn.Parameter] = []
    size, limit = 0, FIRST_BUCKET_BYTES
    for parameter in parameters:
        if bucket and (size + parameter.nbytes > limit or parameter.dtype != bucket[0].dtype):
            yield bucket
            bucket, size, limit = [], 0, BUCKET_BYTES
        bucket.append(parameter)
        size += parameter.nbytes
    if bucket:
        yield bucket


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
