"""The order of an epoch: pure functions of the number of samples, a seed and the epoch."""

from collections.abc import Sequence

import torch

from stoker.randomness import generator

BLOCK_SHARDS = 4
"""Shards whose samples are mixed with each other."""


def shuffled(samples: int, seed: int, epoch: int) -> torch.Tensor:
    """Return (samples,) all places in a new order each epoch."""
    return torch.randperm(samples, generator=generator(seed, "order", epoch))


def streams(samples: int, batch_size: int) -> torch.Tensor:
    """Cut samples into one stream a row of the batch, so that row r of a batch follows row r of the batch before.

    The first streams are one longer and make the uneven last batch.
    """
    whole, longer = divmod(samples, batch_size)
    rows = torch.arange(batch_size)
    begins = rows * whole + rows.clamp(max=longer)
    places = begins + torch.arange(whole).unsqueeze(1)
    return torch.cat([places.reshape(-1), begins[:longer] + whole])


def in_blocks(shards: Sequence[int], block: int, seed: int, epoch: int) -> torch.Tensor:
    """Shuffle the shards, and the samples of each few shards among themselves.

    Args:
        shards: samples of each shard, which lie one behind the other.
        block: shards whose samples are mixed.
        seed: of the run.
        epoch: each has another order.

    Returns:
        (sum of shards,) places, of which any stretch needs few shards.

    """
    drawn = generator(seed, "order", epoch)
    sizes = torch.tensor(shards)
    begins = sizes.cumsum(0) - sizes
    order = torch.randperm(len(shards), generator=drawn)
    found = []
    for start in range(0, len(shards), block):
        some = [torch.arange(int(sizes[n])) + begins[n] for n in order[start : start + block].tolist()]
        places = torch.cat(some)
        found.append(places[torch.randperm(len(places), generator=drawn)])
    return torch.cat(found)
