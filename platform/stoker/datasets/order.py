"""The order of samples in an epoch: pure functions of their number, a seed and the epoch."""

from collections.abc import Sequence

import torch

from stoker.randomness import generator

BLOCK_SHARDS = 4
"""Shards whose samples are shuffled together."""


def shuffled(samples: int, seed: int, epoch: int) -> torch.Tensor:
    """Return a permutation (samples,), another one each epoch."""
    return torch.randperm(samples, generator=generator(seed, "order", epoch))


def streams(samples: int, batch_size: int) -> torch.Tensor:
    """Return the order of streams, one per row of the batch: row r of a batch continues row r of the batch before.

    The first streams are one sample longer and form the smaller last batch.
    """
    whole, longer = divmod(samples, batch_size)
    rows = torch.arange(batch_size)
    begins = rows * whole + rows.clamp(max=longer)
    places = begins + torch.arange(whole).unsqueeze(1)
    return torch.cat([places.reshape(-1), begins[:longer] + whole])


def shuffled_blocks(shards: Sequence[int], block: int, seed: int, epoch: int) -> torch.Tensor:
    """Shuffle the shards, and the samples within each block of shards.

    Args:
        shards: number of samples of each shard, in order.
        block: number of shards whose samples are shuffled together.
        seed: of the run.
        epoch: each has another order.

    Returns:
        (sum of shards,) indices; any contiguous range needs few shards.

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
