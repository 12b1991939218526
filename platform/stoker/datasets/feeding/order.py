"""The order of samples in an epoch: pure functions of their number, a seed and the epoch."""

from collections.abc import Sequence

import torch

from stoker.randomness import generator

BLOCK_SHARDS = 4
"""Shards whose samples are shuffled together."""
SORTED_BATCHES = 50
"""Batches of random samples that are sorted by length together: more would make batches of an epoch less random."""


def shuffled(samples: int, seed: int, epoch: int) -> torch.Tensor:
    """Return a permutation (samples,), another one each epoch."""
    return torch.randperm(samples, generator=generator(seed, "order", epoch))


def bucketed(lengths: torch.Tensor, batch_size: int, seed: int, epoch: int) -> torch.Tensor:
    """Return a permutation (samples,) whose batches hold samples of about equal length, another one each epoch.

    Batches come in random order, and so do the samples of one, of which each worker gets some. The smaller last batch
    stays the last one.

    Args:
        lengths: (samples,) of each sample.
        batch_size: of all workers.
        seed: of the run.
        epoch: each has another order.

    """
    drawn = generator(seed, "order", epoch)
    order = torch.randperm(len(lengths), generator=drawn)
    whole = len(order) // batch_size
    found = []
    for start in range(0, whole, SORTED_BATCHES):
        some = order[start * batch_size : min(start + SORTED_BATCHES, whole) * batch_size]
        found.append(some[lengths[some].argsort(stable=True)].view(-1, batch_size))
    if not found:
        return order
    batches = torch.cat(found)[torch.randperm(whole, generator=drawn)]
    within = torch.rand(batches.shape, generator=drawn).argsort(dim=1)
    return torch.cat([batches.gather(1, within).flatten(), order[whole * batch_size :]])


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
