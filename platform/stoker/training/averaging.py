"""An exponential moving average of the weights, with which a network is evaluated and becomes the model."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


class WeightAverage:
    """The average of all weights that training changes, over the steps (Polyak and Juditsky 1992).

    Args:
        weights: that change in place, with running statistics, by qualified name.
        decay: share of the average that each step keeps; in the first steps it keeps less, so that the initial weights
            are soon forgotten.

    """

    def __init__(self, weights: Mapping[str, Tensor], decay: float) -> None:
        self._current = {name: each for name, each in weights.items() if each.is_floating_point()}
        self._decay = decay
        self.weights: dict[str, Tensor] = {}
        """By qualified name; empty before the first step."""

    def follow(self, step: int) -> None:
        """Take in the weights after a step, counted from 1."""
        with torch.no_grad():
            if not self.weights:
                self.weights = {name: each.clone() for name, each in self._current.items()}
                return
            decay = min(self._decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(list(self.weights.values()), list(self._current.values()), 1 - decay)

    def restore(self, weights: Mapping[str, Tensor]) -> None:
        """Continue from the averages of a checkpoint; one without any begins with the next step."""
        with torch.no_grad():
            self.weights = {
                name: torch.empty_like(each).copy_(weights[name])
                for name, each in self._current.items()
                if name in weights
            }

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Exchange the weights for their averages meanwhile."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        with torch.no_grad():
            for name, average in self.weights.items():
                current = self._current[name].clone()
                self._current[name].copy_(average)
                average.copy_(current)

    def install(self) -> None:
        """Replace the weights by their averages."""
        with torch.no_grad():
            for name, average in self.weights.items():
                self._current[name].copy_(average)
