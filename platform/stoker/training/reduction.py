"""Sums of gradients over workers of which each has all weights, while backward still runs."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from stoker.training.parallel import Workers

FIRST_BUCKET_BYTES, BUCKET_BYTES = 1 << 20, 8 << 20
"""A bucket is full once it has this size; several are all-reduced at a time."""
DEFERRED_BYTES = 4 << 20
"""Up to this size, dividing all gradients afterwards takes less time than waiting for the divisor before backward."""


class Bucket:
    """Gradients that are summed together, in memory that is kept from step to step.

    Args:
        parameters: of one type.
        device: of the parameters.
        dtype: of the parameters.
        extra: numbers that travel behind the gradients.

    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], device: torch.device, dtype: torch.dtype, extra: int = 0
    ) -> None:
        self.parameters = parameters
        self._length = sum(p.numel() for p in parameters)
        self.flat = torch.zeros(self._length + extra, dtype=dtype, device=device)
        places = torch.split(self.flat[: self._length], [p.numel() for p in parameters])
        self._slots = [_laid_out_as(p, place) for p, place in zip(parameters, places, strict=True)]

    @property
    def gradients(self) -> Tensor:
        """All gradients, one after the other."""
        return self.flat[: self._length]

    @property
    def extra(self) -> Tensor:
        """The numbers behind the gradients."""
        return self.flat[self._length :]

    def collect(self) -> list[nn.Parameter]:
        """Move the gradients into the bucket; return the parameters without one, which count as zeros."""
        absent = [p for p in self.parameters if p.grad is None]
        pairs = list(zip(self.parameters, self._slots, strict=True))
        if gradients := [p.grad for p in self.parameters if p.grad is not None]:
            torch._foreach_copy_([slot for p, slot in pairs if p.grad is not None], gradients)
        for parameter, slot in pairs:
            if parameter.grad is None:
                slot.zero_()
            parameter.grad = slot  # frees the gradient's own memory while backward still needs some
        return absent


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
        self._groups = list(buckets(list(reversed(self.parameters))))
        if not self._groups or self._groups[-1][0].dtype != torch.float32:
            self._groups.append([])  # the numbers travel alone: another type could not hold them
        self._buckets: list[Bucket] = []
        self._bucket_of = {id(p): number for number, group in enumerate(self._groups) for p in group}
        self._missing = [0] * len(self._groups)
        self._numbers: list[Tensor] = []
        self._absent: list[nn.Parameter] = []
        self._waiting: list[Any] = []
        for parameter in self.parameters:
            parameter.register_post_accumulate_grad_hook(self._ready)  # type: ignore[no-untyped-call]

    @cached_property
    def defers_division(self) -> bool:
        """Whether gradients are divided after their reduction, if all of them are by the same number.

        Where the divisor is on a GPU, the CPU does not wait for it.
        """
        small = sum(p.nbytes for p in self.parameters) <= DEFERRED_BYTES
        return self._workers.count > 1 and (small or self._workers.device.type != "cpu")

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
            self._missing = [len(group) for group in self._groups]
            self._waiting.clear()
            self._absent.clear()
            extra = len(self._numbers) + len(self.parameters)
            if not self._buckets:
                self._buckets = [self._bucket(group, 0) for group in self._groups[:-1]]
                self._buckets.append(self._bucket(self._groups[-1], extra))
            elif len(self._buckets[-1].extra) != extra:
                self._buckets[-1] = self._bucket(self._groups[-1], extra)

    def finish(self, divisor: int | None = None) -> list[Tensor]:
        """Wait for the gradients, and return the sums of the numbers over the workers.

        Args:
            divisor: place of the number by whose sum the gradients are divided; None leaves them.

        """
        if not self._active:
            return self._numbers
        self._active = False
        self._missing = [0] * len(self._buckets)
        self._send()
        with self._workers.stopwatch.waiting():
            for work in self._waiting:
                work.wait()
        extra, count = self._buckets[-1].extra, len(self._numbers)
        sums = list(extra[:count].clone().unbind())
        if divisor is not None:
            share = reciprocal(sums[divisor])
            for bucket in self._buckets:
                bucket.gradients.mul_(share)
        if self._absent:  # a worker with all of its gradients needs no check, nor a synchronisation
            for parameter, holders in zip(self.parameters, extra[count:].tolist(), strict=True):
                if not holders:
                    parameter.grad = None
        return sums

    def _bucket(self, group: Sequence[nn.Parameter], extra: int) -> Bucket:
        return Bucket(group, self._workers.device, group[0].dtype if group else torch.float32, extra)

    def _ready(self, parameter: Tensor) -> None:
        if self._active:
            self._missing[self._bucket_of[id(parameter)]] -= 1
            self._send()

    def _send(self) -> None:
        """Reduce the complete buckets in order."""
        while len(self._waiting) < len(self._buckets) and self._missing[len(self._waiting)] == 0:
            bucket = self._buckets[len(self._waiting)]
            self._absent += bucket.collect()
            if bucket is self._buckets[-1]:
                self._fill(bucket.extra)
            self._waiting.append(dist.all_reduce(bucket.flat, async_op=True))

    def _fill(self, extra: Tensor) -> None:
        """Write the numbers, and for each parameter whether it has a gradient, which the last bucket settles."""
        count = len(self._numbers)
        if count:
            torch.stack([number.to(extra) for number in self._numbers], out=extra[:count])
        extra[count:] = 1.0
        if self._absent:
            absent = {id(parameter) for parameter in self._absent}
            present = [float(id(p) not in absent) for p in self.parameters]
            extra[count:] = torch.tensor(present, device=extra.device)


def reciprocal(count: Tensor) -> Tensor:
    """Return 1 / count; finite for a count of 0."""
    return count.clamp(min=torch.finfo(count.dtype).tiny).reciprocal()


def buckets(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Group parameters of one type by size, in order; the first bucket is small, so that its reduction starts early."""
    bucket: list[nn.Parameter] = []
    size, limit = 0, FIRST_BUCKET_BYTES
    for parameter in parameters:
        if bucket and (size >= limit or parameter.dtype != bucket[0].dtype):
            yield bucket
            bucket, size, limit = [], 0, BUCKET_BYTES
        bucket.append(parameter)
        size += parameter.nbytes
    if bucket:
        yield bucket


def _laid_out_as(parameter: Tensor, place: Tensor) -> Tensor:
    """Return a view of a flat place with the shape and, so that optimizers need no copy, the strides of a parameter."""
    strides = torch.empty_like(parameter, device="meta").stride()
    return place.as_strided(parameter.size(), strides)
