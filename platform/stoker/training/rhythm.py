"""The epochs after which expensive metrics are computed and pictures drawn: functions of the epoch alone.

So a resumed run does both where the run it continues would have, whatever the number of workers. The last epoch, which
only the loop knows, always has both.
"""

import torch

from stoker.job.section import span_epochs
from stoker.job.training import Evaluate
from stoker.randomness import generator


def measures_all(settings: Evaluate, epoch: int) -> bool:
    """Return whether expensive metrics are computed when so many epochs are done: after each one by default."""
    return epoch % _interval(settings, 1) == 0


def draws(settings: Evaluate, epoch: int) -> bool:
    """Return whether pictures are drawn when so many epochs are done: by default after 1, 2, 4, 8 and so on.

    Networks change most at first, and ten pictures are enough for a thousand epochs, however long training turns out.
    """
    doubling = 1 << (epoch.bit_length() - 1)
    return epoch % _interval(settings, doubling) == 0


def some_rows(count: int, wanted: int, seed: int) -> torch.Tensor:
    """Choose some rows of a part with so many samples, always the same ones and in order.

    They are drawn, since the order of the samples may mean something, such as one class after another.
    """
    return torch.randperm(count, generator=generator(seed, "measured"))[:wanted].sort().values


def _interval(settings: Evaluate, default: int) -> int:
    return (span_epochs(settings.every) if settings.every else None) or default
