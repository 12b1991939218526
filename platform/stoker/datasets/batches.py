"""Batches from samples: a pure function of seed, epoch and step, wherever they are made."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch

from stoker.datasets.augmentation import augment
from stoker.datasets.fields.mask import MaskField
from stoker.datasets.fields.schema import Fields
from stoker.datasets.order import BLOCK_SHARDS, in_blocks, shuffled, streams
from stoker.datasets.prefetch import Prefetcher, lazy_columns
from stoker.datasets.samples import Samples
from stoker.job.signature import MaskOutput, Signature
from stoker.randomness import Noise

LARGEST_BATCH, LARGEST_IMAGE_BATCH = 8192, 256
"""Samples that an evaluation or a prediction computes at once, at most."""
MOST_VALUES = 50_000_000
"""Numbers that a network holds at a time for a batch of images, at most: 200 MB in float32."""
MAPS = 16
"""Numbers that a network holds at a time for each number of an image, roughly."""


@dataclass(frozen=True)
class Batch:
    """Some samples, ready for the network."""

    inputs: dict[str, torch.Tensor]
    target: torch.Tensor | None
    weight: torch.Tensor | None
    ids: torch.Tensor
    """Number of each sample in its source."""
    rows: slice
    """Which rows of the worker's share of the global batch these are."""

    def __len__(self) -> int:
        return len(self.ids)

    def pieces(self, size: int) -> "Iterator[Batch]":
        """Cut it into batches of at most so many samples."""
        for start in range(0, len(self), size):
            rows = slice(start, min(start + size, len(self)))
            inputs = {name: value[rows] for name, value in self.inputs.items()}
            target = None if self.target is None else self.target[rows]
            weight = None if self.weight is None else self.weight[rows]
            yield Batch(inputs, target, weight, self.ids[rows], rows)


@dataclass(frozen=True)
class Step:
    """The micro-batches of one optimizer step, and the noise of each."""

    micro_batches: tuple[tuple[Batch, Noise], ...]
    """Of this worker; one without samples where the global batch has none for it."""
    samples: int
    """Of the global batch."""


class Batches:
    """Training batches of one part, and of each the share of one worker.

    Args:
        samples: the part, on the device where it is used.
        fields: turn stored inputs into what the network sees.
        batch_size: samples of one optimizer step over all workers; the last one of an epoch may be smaller.
        micro_batch: samples a worker computes at once.
        augmentation: random changes of images (and of a mask together with its image).
        seed: seed of order, augmentation and noise.
        share: rows of a whole batch that are this worker's.
        order: `shuffled` anew each epoch (of streamed samples a few shards at a time), or `streams`: row r of a batch
            follows row r of the batch before.
        processes: that decode files ahead of the steps, where there are columns to decode.

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
    ) -> None:
        self._samples = samples
        self._fields = fields
        self._batch_size = batch_size
        self._micro_batch = micro_batch
        self._augmentation = augmentation
        self._seed = seed
        self._share = share
        self.prefetcher = Prefetcher(samples, processes) if lazy_columns(samples) else None
        """Decodes files ahead of the steps; None where all samples are in memory."""
        self._order = order

    def __len__(self) -> int:
        """Count the steps of an epoch."""
        return -(-len(self._samples) // self._batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Step]:
        """Yield the steps of an epoch, from step number `start` of it on."""
        order = self._arrange(epoch)
        if not self.prefetcher:
            order = order.to(self._samples.ids.device)  # once an epoch, not for each step
        globally = [order[n * self._batch_size : (n + 1) * self._batch_size] for n in range(start, len(self))]
        mine = [chosen[self._share.start : self._share.stop] for chosen in globally]
        if self.prefetcher:
            taken = ((samples, torch.arange(len(samples))) for samples in self.prefetcher.steps(mine))
        else:
            taken = ((self._samples, rows) for rows in mine)
        for number, (chosen, (samples, rows)) in enumerate(zip(globally, taken, strict=True), start):
            yield Step(tuple(self._micro_batches(samples, rows, len(chosen), epoch, number)), len(chosen))

    def ids(self, epoch: int, number: int) -> list[int]:
        """Name the samples of one global batch by their numbers in the source."""
        places = self._arrange(epoch)[number * self._batch_size : (number + 1) * self._batch_size]
        ids: list[int] = self._samples.ids.cpu()[places].tolist()
        return ids

    def _arrange(self, epoch: int) -> torch.Tensor:
        """Return the places of all samples in the order of an epoch."""
        if self._order == "streams":
            return streams(len(self._samples), self._batch_size)
        if self._samples.shards:
            return in_blocks(self._samples.shards, BLOCK_SHARDS, self._seed, epoch)
        return shuffled(len(self._samples), self._seed, epoch)

    def _micro_batches(
        self, samples: Samples, rows: torch.Tensor, total: int, epoch: int, number: int
    ) -> Iterator[tuple[Batch, Noise]]:
        """Cut this worker's rows of a global batch into micro-batches; one without samples where it has none."""
        first = min(self._share.start, total)
        for begin in range(0, max(len(rows), 1), self._micro_batch):
            end = min(begin + self._micro_batch, len(rows))
            key = (self._seed, epoch, number)
            batch = gathered(samples, self._fields, rows[begin:end], slice(begin, end))
            if self._augmentation:
                noise = Noise((*key, "augmentation"), total, first + begin, first + end, batch.ids.device)
                batch = augmented(batch, self._fields, self._augmentation, noise)
            yield batch, Noise((*key, "objective"), total, first + begin, first + end, batch.ids.device)


def gathered(samples: Samples, fields: Fields, index: torch.Tensor, rows: slice) -> Batch:
    """Make a batch of some samples."""
    return Batch(
        fields.gather(samples, index),
        None if samples.target is None else samples.target.take(index),
        None if samples.weight is None else samples.weight.index_select(0, index),
        samples.ids.index_select(0, index),
        rows,
    )


def augmented(batch: Batch, fields: Fields, names: tuple[str, ...], noise: Noise) -> Batch:
    """Change the images of a batch, and a mask that belongs to them in the same way."""
    inputs, target = dict(batch.inputs), batch.target
    masked = isinstance(fields.target, MaskField)
    for name in fields.signature.images:
        inputs[name], mask = augment(inputs[name], names, noise, target if masked else None)
        target = mask if masked else target
    return replace(batch, inputs=inputs, target=target)


def ordered_batches(samples: Samples, fields: Fields, batch_size: int, numbers: range | None = None) -> Iterator[Batch]:
    """Yield all samples once, as they stand, for evaluation and prediction; or only the batches of these numbers."""
    for number in range(-(-len(samples) // batch_size)) if numbers is None else numbers:
        start = number * batch_size
        index = torch.arange(start, min(start + batch_size, len(samples)), device=samples.ids.device)
        yield gathered(samples, fields, index, slice(0, len(index)))


def batch_limit(signature: Signature) -> int:
    """Return how many samples are computed at once without training: by the size of images and of their outputs."""
    images = signature.images.values()
    if not images:
        return LARGEST_BATCH
    pixels = sum(shape.height * shape.width for shape in images)
    largest = max(sum(shape.channels * shape.height * shape.width for shape in images), pixels)
    if isinstance(signature.output, MaskOutput):
        largest = max(largest, pixels * len(signature.output.classes))
    return max(1, min(LARGEST_IMAGE_BATCH, MOST_VALUES // (MAPS * largest)))
