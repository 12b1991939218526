"""Samples that a step sees at once: gathered, and changed at random."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from stoker.datasets.feeding.mixing import Mixing
from stoker.datasets.fields.boxes import BoxesField
from stoker.datasets.fields.mask import MaskField
from stoker.datasets.fields.schema import Fields
from stoker.datasets.pictures.augmentation import augment
from stoker.datasets.pictures.random_tiles import random_tiles
from stoker.datasets.samples import Samples
from stoker.randomness import Noise


@dataclass(frozen=True)
class Batch:
    """Samples ready for the network."""

    inputs: dict[str, torch.Tensor]
    target: torch.Tensor | None
    weight: torch.Tensor | None
    source_ids: torch.Tensor
    """Number in the source of each sample of the part."""
    index: torch.Tensor
    """(B,) places of the samples in the part."""
    rows: slice
    """Rows of these samples in the worker's share of the global batch."""
    also: "Batch | None" = None
    """The same inputs with further labels, and their weights, where samples are mixed."""

    def __len__(self) -> int:
        return len(self.index)

    @property
    def device(self) -> torch.device:
        """Return where the samples are."""
        return self.index.device

    @property
    def ids(self) -> torch.Tensor:
        """Return the number of each sample in its source; not computed before, since training does not need it."""
        return self.source_ids.index_select(0, self.index)

    def pieces(self, size: int) -> "Iterator[Batch]":
        """Yield batches of at most `size` of its samples."""
        for start in range(0, len(self), size):
            rows = slice(start, min(start + size, len(self)))
            inputs = {name: value[rows] for name, value in self.inputs.items()}
            target = None if self.target is None else self.target[rows]
            weight = None if self.weight is None else self.weight[rows]
            yield Batch(inputs, target, weight, self.source_ids, self.index[rows], rows)


def gathered(samples: Samples, fields: Fields, index: torch.Tensor, rows: slice) -> Batch:
    """Return a batch of some samples."""
    return Batch(
        fields.gather(samples, index),
        None if samples.target is None else samples.target.take(index),
        None if samples.weight is None else samples.weight.index_select(0, index),
        samples.ids,
        index,
        rows,
    )


def augmented(batch: Batch, fields: Fields, names: tuple[str, ...], noise: Noise) -> Batch:
    """Augment the images of a batch, and their masks or boxes in the same way."""
    inputs, target = dict(batch.inputs), batch.target
    layer = target if isinstance(fields.target, MaskField) else None
    boxes = target if isinstance(fields.target, BoxesField) else None
    for name in fields.signature.images:
        inputs[name], moved = augment(inputs[name], names, noise, layer, boxes)
        target = target if moved is None else moved
    return replace(batch, inputs=inputs, target=target)


def mixed(batch: Batch, other: Batch, fields: Fields, mixing: Mixing, noise: Noise) -> Batch:
    """Mix the only image of each sample with that of another batch; labels weigh as much as the image has of theirs."""
    (name,) = fields.signature.images
    images, shares = mixing.mixed(batch.inputs[name], other.inputs[name], noise)
    inputs = {**batch.inputs, name: images}
    own, others = (each if each is not None else torch.ones_like(shares) for each in (batch.weight, other.weight))
    also = replace(other, inputs=inputs, weight=(1 - shares) * others)
    return replace(batch, inputs=inputs, weight=shares * own, also=also)


def cut(batch: Batch, fields: Fields, tile: tuple[int, int], noise: Noise) -> Batch:
    """Cut a random tile out of each image of a batch, and the same out of its mask."""
    places = noise.uniform(2)
    inputs = {
        name: random_tiles(each, tile, places) if name in fields.signature.images else each
        for name, each in batch.inputs.items()
    }
    target = batch.target
    if target is not None and isinstance(fields.target, MaskField):
        target = random_tiles(target, tile, places)
    return replace(batch, inputs=inputs, target=target)
