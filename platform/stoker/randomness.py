"""Randomness that belongs to the run, not to the rank."""

import math
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2b

import numpy as np
import torch


def generator(*key: int | str) -> torch.Generator:
    """Return a CPU generator whose state is a function of the key alone."""
    digest = blake2b(repr(key).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def seed_process(seed: int) -> None:
    """Seed the generators of this process: torch's, from which dropout draws, and those that a user's code may use."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


class Noise:
    """Random numbers for the rows of one global batch, of which this process sees a slice.

    Draws are made for the whole batch and then cut, so that any number of workers sees the same numbers.
    """

    def __init__(self, key: tuple[int | str, ...], total: int, start: int, stop: int, device: torch.device) -> None:
        self._key = key
        self._total = total
        self._rows = slice(start, stop)
        self._device = device
        self._generator: torch.Generator | None = None

    def normal(self, *shape: int) -> torch.Tensor:
        """Draw (rows, *shape) from the standard normal distribution."""
        return self._draw(torch.randn, shape)

    def uniform(self, *shape: int) -> torch.Tensor:
        """Draw (rows, *shape) evenly from 0 to 1."""
        return self._draw(torch.rand, shape)

    def beta(self, parameter: float) -> torch.Tensor:
        """Draw (rows,) from the symmetric beta distribution."""
        seed = torch.randint(2**62, (), generator=self._source())  # torch's own draws take no generator
        drawn = np.random.default_rng(int(seed)).beta(parameter, parameter, self._total)
        return torch.from_numpy(drawn).float()[self._rows].to(self._device)

    def _draw(self, draw: Callable[..., torch.Tensor], shape: tuple[int, ...]) -> torch.Tensor:
        return draw(self._total, *shape, generator=self._source())[self._rows].to(self._device)

    def _source(self) -> torch.Generator:
        if self._generator is None:
            self._generator = generator(*self._key)
        return self._generator


class PerSampleNoise:
    """Random numbers for each sample by key and number, so that no sample depends on the others of its batch."""

    def __init__(self, key: tuple[int | str, ...], numbers: Iterable[int]) -> None:
        self._generators = [generator(*key, number) for number in numbers]

    def normal(self, *shape: int) -> torch.Tensor:
        """Draw (B, *shape) from the standard normal distribution."""
        return torch.stack([torch.randn(shape, generator=each) for each in self._generators])

    def uniform(self, *shape: int) -> torch.Tensor:
        """Draw (B, *shape) uniformly from 0 to 1."""
        return torch.stack([torch.rand(shape, generator=each) for each in self._generators])


class WalkNoise:
    """Random numbers on the way from each sample to the next one, in even steps (Shoemake 1985).

    Args:
        key: of the samples.
        numbers: of the images, of which each `length`-th is a sample.
        length: images from one sample to the next one.

    """

    def __init__(self, key: tuple[int | str, ...], numbers: range, length: int) -> None:
        self._before = PerSampleNoise(key, [number // length for number in numbers])
        self._after = PerSampleNoise(key, [number // length + 1 for number in numbers])
        self._shares = torch.tensor([number % length / length for number in numbers])

    def normal(self, *shape: int) -> torch.Tensor:
        """Draw (B, *shape), each number of which has a standard normal distribution."""
        angles = (self._shares * math.pi / 2).view(-1, *(1 for _ in shape))
        return self._before.normal(*shape) * angles.cos() + self._after.normal(*shape) * angles.sin()

    def uniform(self, *shape: int) -> torch.Tensor:
        """Draw (B, *shape) uniformly from 0 to 1, those of the nearer sample."""
        before, after = self._before.uniform(*shape), self._after.uniform(*shape)
        return torch.where((self._shares < 0.5).view(-1, *(1 for _ in shape)), before, after)


@contextmanager
def kept_randomness(device: torch.device) -> Iterator[None]:
    """Restore the generators of this process after a block that seeds them and draws from them."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
