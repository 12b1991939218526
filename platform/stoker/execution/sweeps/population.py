"""How the values of a sweep's trials change when one goes on from another: never out of the space."""

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stoker.jobfile.space.dimension import Dimension, Options, Range
from stoker.jobfile.space.space import Coordinates, Space

Place = dict[str, Any]
"""A point as Tune sees it, by name of each dimension: a number, or the index of an option."""


@dataclass(frozen=True)
class Population:
    """The changes of a sweep's trials.

    Args:
        space: all of its dimensions can change in mid-run.
        logarithms: whether Tune sees the logarithms of ranges over orders of magnitude, as a model of them needs.

    """

    space: Space
    logarithms: bool

    def place(self, picks: Coordinates) -> Place:
        """Show a point to Tune."""
        return {each.name: self._shown(each, picks[each.name]) for each in self.space.dimensions}

    def picks(self, place: Mapping[str, Any]) -> dict[str, Any]:
        """Return the point that Tune has come to, or the nearest one in the space."""
        return {each.name: self._within(each, place[each.name]) for each in self.space.dimensions}

    def settled(self, place: Mapping[str, Any], source: Coordinates) -> Place:
        """Return where Tune may go: the nearest point in the space, or back where that makes no job.

        Args:
            place: where it wants to go; what else is in it stays.
            source: the point that it comes from.

        """
        picks = self.picks(place)
        return {**place, **self.place(picks if self.space.makes_job(picks) else source)}

    def mutations(self) -> dict[str, list[Any] | Callable[[], float]]:
        """Say how each value may be drawn anew: from a list, in which it may also move to a neighbour, or freely."""
        return {each.name: self._mutation(each.domain) for each in self.space.dimensions}

    def bounds(self) -> dict[str, list[float]]:
        """Name the ends of each range as Tune sees them."""
        ends = {}
        for each in self.space.dimensions:
            assert isinstance(each.domain, Range)
            ends[each.name] = [self._shown(each, end) for end in (each.domain.minimum, each.domain.maximum)]
        return ends

    def _mutation(self, domain: Range | Options) -> list[Any] | Callable[[], float]:
        if isinstance(domain, Options):
            return sorted(range(len(domain.values)), key=lambda index: float(domain.values[index]))
        if domain.count is not None:
            return list(domain.points())
        low, high = domain.minimum, domain.maximum
        if domain.log:
            return lambda: min(max(math.exp(random.uniform(math.log(low), math.log(high))), low), high)  # noqa: S311 - no secret
        return lambda: random.uniform(low, high)  # noqa: S311 - no secret

    def _shown(self, each: Dimension, pick: Any) -> Any:
        if isinstance(each.domain, Options) or each.domain.count is not None:
            return pick
        return math.log(pick) if self.logarithms and each.domain.log else float(pick)

    def _within(self, each: Dimension, value: Any) -> Any:
        if isinstance(each.domain, Options):
            return min(max(int(value), 0), len(each.domain.values) - 1)
        domain = each.domain
        if domain.count is not None:
            return domain.at(min(max(domain.index(value), 0), domain.count - 1))
        number = math.exp(value) if self.logarithms and domain.log else float(value)
        return min(max(number, domain.minimum), domain.maximum)
