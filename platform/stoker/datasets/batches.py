"""Batches from samples in memory: the same ones for the same seed, epoch and step, wherever they are made."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from stoker.datasets.augmentation import augment
from stoker.datasets.encoders import ImageEncoder, TableEncoder
from stoker.datasets.noise import Noise, generator
from stoker.datasets.samples import Samples


@dataclass(frozen=True)
class Batch:
    """Some samples, ready for the network."""

    inputs: dict[str, torch.Tensor]
    target: torch.Tensor
    weight: torch.Tensor | None
    ids: torch.Tensor
    """Number of each sample in its source."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Step:
    """The micro-batches of one optimizer step, and the noise of each."""

    micro_batches: tuple[tuple[Batch, Noise], ...]
    samples: int


class Batches:
    """Training batches of one part, in a new order each epoch.

    Args:
        samples: the part, on the device where it is used.
        encoder: turns stored inputs into what the network sees.
        batch_size: samples of one optimizer step; the last one of an epoch may be smaller.
        micro_batch: samples computed at once.
        augmentation: random changes of pictures.
        seed: seed of order, augmentation and noise.

    """

    def __init__(
        self,
        samples: Samples,
        encoder: TableEncoder | ImageEncoder,
        batch_size: int,
        micro_batch: int,
        augmentation: tuple[str, ...],
        seed: int,
    ) -> None:
        self._samples = samples
        self._encoder = encoder
        self._batch_size = batch_size
        self._micro_batch = micro_batch
        self._augmentation = augmentation
        self._seed = seed

    def __len__(self) -> int:
        """Count the steps of an epoch."""
        return -(-len(self._samples) // self._batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Step]:
        """Yield the steps of an epoch, from step number `start` of it on."""
        order = torch.randperm(len(self._samples), generator=generator(self._seed, "order", epoch))
        order = order.to(self._samples.ids.device)
        for number in range(start, len(self)):
            chosen = order[number * self._batch_size : (number + 1) * self._batch_size]
            yield Step(tuple(self._micro_batches(chosen, epoch, number)), len(chosen))

    def _micro_batches(self, chosen: torch.Tensor, epoch: int, number: int) -> Iterator[tuple[Batch, Noise]]:
        total = len(chosen)
        for begin in range(0, total, self._micro_batch):
            end = min(begin + self._micro_batch, total)
            rows = self._samples.rows(chosen[begin:end])
            key = (self._seed, epoch, number)
            inputs = ready(rows, self._encoder)
            if self._augmentation:
                noise = Noise((*key, "augmentation"), total, begin, end, rows.ids.device)
                inputs["image"] = augment(inputs["image"], self._augmentation, noise)
            yield (
                Batch(inputs, rows.target, rows.weight, rows.ids),
                Noise((*key, "objective"), total, begin, end, rows.ids.device),
            )


def in_order(samples: Samples, encoder: TableEncoder | ImageEncoder, batch_size: int) -> Iterator[Batch]:
    """Yield all samples once, as they stand, for evaluation and prediction."""
    for start in range(0, len(samples), batch_size):
        rows = samples.rows(torch.arange(start, min(start + batch_size, len(samples)), device=samples.ids.device))
        yield Batch(ready(rows, encoder), rows.target, rows.weight, rows.ids)


def ready(rows: Samples, encoder: TableEncoder | ImageEncoder) -> dict[str, torch.Tensor]:
    """Turn stored inputs into what the network sees."""
    if isinstance(encoder, ImageEncoder):
        return {"image": encoder.scaled(rows.inputs["image"])}
    return dict(rows.inputs)
