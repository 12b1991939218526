"""Epochs after which expensive metrics are computed and pictures drawn: functions of the epoch alone.

So a resumed run does both after the same epochs, with any number of workers. The last epoch, which only the loop
knows, always has both.
"""

import torch

from stoker.job.section import span_epochs
from stoker.job.training import Evaluate
from stoker.randomness import generator


def measures_all(settings: Evaluate, epoch: int) -> bool:
    """Return whether expensive metrics are computed after an epoch, counted from 1: by default after each."""
    return epoch % _interval(settings, 1) == 0


def draws(settings: Evaluate, epoch: int) -> bool:
    """Return whether pictures are drawn after an epoch, counted from 1: by default after 1, 2, 4, 8 and so on.

    Networks change most at first, and ten pictures are enough for a thousand epochs.
    """
    doubling = 1 << (epoch.bit_length() - 1)
    return epoch % _interval(settings, doubling) == 0


def sample_rows(count: int, wanted: int, seed: int) -> torch.Tensor:
    """Return `wanted` of `count` rows, drawn at random with a seed, in order.

    The first rows would not do, since samples may be sorted, such as by class.
    """
    return torch.randperm(count, generator=generator(seed, "measured"))[:wanted].sort().values


def _interval(settings: Evaluate, default: int) -> int:
    return (span_epochs(settings.every) if settings.every else None) or default
