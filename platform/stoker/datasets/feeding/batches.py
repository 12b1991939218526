"""Batches of samples: a pure function of seed, epoch and step, on any worker."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from stoker.datasets.feeding.batch import Batch, augmented, cut, gathered, mixed
from stoker.datasets.feeding.mixing import UNMIXED, Mixing, partners
from stoker.datasets.feeding.order import BLOCK_SHARDS, bucketed, shuffled, shuffled_blocks, streams
from stoker.datasets.feeding.prefetch import Prefetcher, lazy_columns
from stoker.datasets.feeding.tokens import token_counts, tokens_of_steps
from stoker.datasets.fields.schema import Fields
from stoker.datasets.samples import Samples
from stoker.randomness import Noise


@dataclass(frozen=True)
class Step:
    """The micro-batches of one optimizer step with their noise."""

    micro_batches: tuple[tuple[Batch, Noise], ...]
    """Of this worker; a single empty one if the global batch has no samples for it."""
    samples: int
    """Of the global batch."""
    tokens: int = 0
    """Of this worker's texts, without padding; 0 for other samples."""
    idle_passes: int = 0
    """Further passes, because another worker has more micro-batches and all must make the same number."""


class Batches:
    """One worker's share of the training batches of one part.

    Args:
        samples: the part, on the device of training.
        fields: prepare stored inputs for the network.
        batch_size: samples of one optimizer step over all workers; the last step of an epoch may have fewer.
        micro_batch: samples of one forward pass of a worker.
        augmentation: random changes of images (and of masks with them).
        seed: of order, augmentation and noise.
        share: this worker's rows of a whole batch.
        order: `shuffled` differently each epoch (streamed samples in blocks of shards, those of different length with
            others of about the same), or `streams`: row r of a batch continues row r of the batch before.
        processes: that prefetch columns to decode, if there are any.
        together: each worker's rows of a whole batch, if all workers must make the same number of passes.
        mixing: of the images of a batch with each other.

    """

    def __init__(
        self,
        samples: Samples,
        fields: Fields,
        batch_size: int,
        micro_batch: int,
        augmentation: tuple[str, ...],
        seed: int,
        share: range,
        order: Literal["shuffled", "streams"] = "shuffled",
        processes: int = 0,
        together: Sequence[range] = (),
        mixing: Mixing = UNMIXED,
    ) -> None:
        self._samples = samples
        self._lengths = samples.lengths
        self._tokens = token_counts(samples, fields)
        self._fields = fields
        self._batch_size = batch_size
        self._micro_batch = micro_batch
        self._augmentation = augmentation
        self._mixing = mixing
        self._seed = seed
        self._share = share
        self.prefetcher = Prefetcher(samples, processes) if lazy_columns(samples) else None
        """Decodes files ahead of the steps; None if all samples are in memory."""
        self._tile = next((shape.tile for shape in fields.signature.images.values()), None)
        self._order = order
        self._together = together

    def __len__(self) -> int:
        """Return the number of steps of an epoch."""
        return -(-len(self._samples) // self._batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Step]:
        """Yield the steps of an epoch, from its step `start` on."""
        order = self._arrange(epoch)
        tokens = tokens_of_steps(self._tokens, order, self._batch_size, self._share)
        if not self.prefetcher:
            order = order.to(self._samples.ids.device)  # once per epoch, not per step
        globally = [order[n * self._batch_size : (n + 1) * self._batch_size] for n in range(start, len(self))]
        mine = [self._own_rows(chosen, epoch, number) for number, chosen in enumerate(globally, start)]
        if self.prefetcher:
            taken = ((samples, torch.arange(len(samples))) for samples in self.prefetcher.steps(mine))
        else:
            taken = ((self._samples, rows) for rows in mine)
        for number, (chosen, (samples, rows)) in enumerate(zip(globally, taken, strict=True), start):
            micro_batches = tuple(self._micro_batches(samples, rows, len(chosen), epoch, number))
            idle = self._idle_passes(len(micro_batches), len(chosen))
            yield Step(micro_batches, len(chosen), tokens[number], idle)

    def _own_rows(self, chosen: torch.Tensor, epoch: int, number: int) -> torch.Tensor:
        """Return this worker's rows of a global batch, behind them those that they are mixed with."""
        own = chosen[self._share.start : self._share.stop]
        if not self._mixing:
            return own
        others = chosen[partners(len(chosen), self._seed, epoch, number).to(chosen.device)]
        return torch.cat([own, others[self._share.start : self._share.stop]])

    def ids(self, epoch: int, number: int) -> list[int]:
        """Return the numbers in the source of the samples of one global batch."""
        places = self._arrange(epoch)[number * self._batch_size : (number + 1) * self._batch_size]
        ids: list[int] = self._samples.ids.cpu()[places].tolist()
        return ids

    def _arrange(self, epoch: int) -> torch.Tensor:
        """Return the indices of all samples in the order of an epoch."""
        if self._order == "streams":
            return streams(len(self._samples), self._batch_size)
        if self._samples.shards:
            return shuffled_blocks(self._samples.shards, BLOCK_SHARDS, self._seed, epoch)
        if self._lengths is not None:
            return bucketed(self._lengths, self._batch_size, self._seed, epoch)
        return shuffled(len(self._samples), self._seed, epoch)

    def _idle_passes(self, own: int, total: int) -> int:
        """Return how many more micro-batches of a global batch another worker has than this one's `own`."""
        rows = (max(min(share.stop, total) - share.start, 1) for share in self._together)
        return max((-(-count // self._micro_batch) for count in rows), default=own) - own

    def _micro_batches(
        self, samples: Samples, rows: torch.Tensor, total: int, epoch: int, number: int
    ) -> Iterator[tuple[Batch, Noise]]:
        """Yield this worker's micro-batches of a global batch; a single empty one if it has no rows."""
        first = min(self._share.start, total)
        own = len(rows) // 2 if self._mixing else len(rows)
        rows, others = rows[:own], rows[own:]
        key = (self._seed, epoch, number)
        for begin in range(0, max(len(rows), 1), self._micro_batch):
            end = min(begin + self._micro_batch, len(rows))
            place = (total, first + begin, first + end, rows.device)
            batch = self._augmented(samples, rows, slice(begin, end), Noise((*key, "augmentation"), *place))
            if self._mixing:
                other = self._augmented(samples, others, slice(begin, end), Noise((*key, "others"), *place))
                batch = mixed(batch, other, self._fields, self._mixing, Noise((*key, "mixing"), *place))
            yield batch, Noise((*key, "objective"), *place)

    def _augmented(self, samples: Samples, index: torch.Tensor, rows: slice, noise: Noise) -> Batch:
        batch = gathered(samples, self._fields, index[rows], rows)
        if self._tile:
            batch = cut(batch, self._fields, self._tile, noise)
        return augmented(batch, self._fields, self._augmentation, noise) if self._augmentation else batch


def ordered_batches(
    samples: Samples,
    fields: Fields,
    batch_size: int,
    numbers: range | None = None,
    order: torch.Tensor | None = None,
) -> Iterator[Batch]:
    """Yield all samples for evaluation and prediction, or only the batches with these numbers.

    Args:
        samples: of a part, or to predict.
        fields: prepare stored inputs for the network.
        batch_size: of every batch but the last one.
        numbers: of the batches; None: of all.
        order: (N,) places of the samples; None: as they stand.

    """
    if order is not None:
        order = order.to(samples.ids.device)
    for number in range(-(-len(samples) // batch_size)) if numbers is None else numbers:
        start = number * batch_size
        index = torch.arange(start, min(start + batch_size, len(samples)), device=samples.ids.device)
        index = index if order is None else order[index]
        yield gathered(samples, fields, index, slice(0, len(index)))
