"""Prefetching: separate processes decode files some steps before they are needed."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from stoker.datasets.columns import Column, Dense, Fetched, Lazy
from stoker.datasets.pictures.images import decode_in_turn
from stoker.datasets.samples import Samples
from stoker.errors import JobError

STEPS_AHEAD = 2
"""Steps that each process decodes in advance."""
MAX_PROCESSES = 8


class Prefetcher:
    """Decodes the rows of coming steps in the processes of torch's DataLoader, which preserves their order.

    Args:
        samples: with at least one Lazy column.
        processes: for decoding; 0 decodes in the step itself.

    """

    def __init__(self, samples: Samples, processes: int) -> None:
        self._samples = samples
        self._order = _Steps()
        columns = lazy_columns(samples)
        self._fetched = next((each.stored for each in columns.values() if isinstance(each.stored, Fetched)), None)
        self.waited_s = 0.0
        """Time that steps have waited for their rows."""
        self._loader: DataLoader[dict[str, Tensor] | JobError] = DataLoader(
            _Decoder(columns),
            batch_size=None,
            sampler=self._order,
            num_workers=processes,
            prefetch_factor=STEPS_AHEAD if processes else None,
            persistent_workers=processes > 0,
            worker_init_fn=_decode_in_turn,
            # Not fork: the child would inherit locks that threads of this process hold.
            multiprocessing_context="forkserver" if processes else None,
        )

    def steps(self, rows: Sequence[Tensor]) -> Iterator[Samples]:
        """Yield the samples of each step, in memory and in the order of its rows.

        Raises:
            JobError: a file cannot be decoded; the message names it.

        """
        self._order.rows = rows
        ahead = self._fetched.prefetch([each.numpy() for each in rows]) if self._fetched else None
        decoded = iter(self._loader)
        for step, index in enumerate(rows):
            if ahead:
                ahead.advance(step)
            began = time.perf_counter()
            taken = next(decoded)
            self.waited_s += time.perf_counter() - began
            if isinstance(taken, JobError):
                raise taken
            yield with_decoded(self._samples, index, taken)


TARGET = "\0target"
"""Name of the target among the columns; no column of a table can have it."""


def lazy_columns(samples: Samples) -> dict[str, Lazy]:
    """Return the columns of samples that are decoded on access."""
    everything: dict[str, Column] = {**samples.inputs, **({TARGET: samples.target} if samples.target else {})}
    return {name: column for name, column in everything.items() if isinstance(column, Lazy)}


def with_decoded(samples: Samples, index: Tensor, decoded: dict[str, Tensor]) -> Samples:
    """Return some rows of samples, with their decoded columns."""
    device = samples.ids.device
    here = {name: Dense(tensor.to(device, non_blocking=True)) for name, tensor in decoded.items()}
    place = index.to(device)
    inputs = {name: here.get(name) or column.rows(place) for name, column in samples.inputs.items()}
    target = here.get(TARGET) or (samples.target.rows(place) if samples.target else None)
    weight = None if samples.weight is None else samples.weight.index_select(0, place)
    return replace(samples, inputs=inputs, target=target, weight=weight, ids=samples.ids.index_select(0, place))


class _Decoder(Dataset[dict[str, Tensor] | JobError]):
    """Decodes the rows of one step; errors are returned, since torch rebuilds raised ones from their message alone."""

    def __init__(self, columns: dict[str, Lazy]) -> None:
        self._columns = columns

    def __getitem__(self, rows: Tensor) -> dict[str, Tensor] | JobError:
        try:
            return {name: column.take(rows) for name, column in self._columns.items()}
        except JobError as error:
            return error


def _decode_in_turn(_number: int) -> None:
    decode_in_turn()


class _Steps(torch.utils.data.Sampler[Tensor]):
    """The rows of the coming steps; replaced for each epoch."""

    def __init__(self) -> None:
        self.rows: Sequence[Tensor] = ()

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.rows)
