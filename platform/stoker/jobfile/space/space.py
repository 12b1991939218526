"""The space of a sweep as plain values: its points, and the values that each of them gives the job."""

import copy
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from stoker.errors import JobError
from stoker.job.job import Job
from stoker.jobfile.overlay import written_out
from stoker.jobfile.space.dimension import Dimension, Options, Range, text_of
from stoker.jobfile.space.expressions import Expression
from stoker.jobfile.space.point import plain_values, point_job, value_at

COUNTED = 10_000
"""Points that are looked at one by one for conditions; of larger spaces only the bound is known."""

Picks = Mapping[str, Any]
"""A point: by name of each active dimension the number, or the index of the option."""


class Misfit(ValueError):
    """A value is no part of the space; `path` is its key."""

    def __init__(self, path: str, message: str) -> None:
        self.path = path
        super().__init__(message)


@dataclass(frozen=True)
class Derived:
    """A key whose value follows from others."""

    path: str
    expression: Expression
    integer: bool

    def value(self, values: Any) -> Any:
        """Compute it from all values of a job.

        Raises:
            ValueError: it cannot be computed.

        """
        found = self.expression.value(lambda path: value_at(values, path))
        whole = self.integer and isinstance(found, float) and found.is_integer()
        return int(found) if whole else found


@dataclass(frozen=True)
class Space:
    """All points of a sweep of `job`; dimensions stand in the order of the file, those of an option after it."""

    job: Job
    dimensions: tuple[Dimension, ...]
    derived: tuple[Derived, ...] = ()
    """In the order in which they can be computed."""
    where: tuple[Expression, ...] = ()

    def active(self, picks: Picks) -> tuple[Dimension, ...]:
        """Return the dimensions that a point has."""
        return tuple(each for each in self.dimensions if all(picks.get(name) == index for name, index in each.when))

    def values(self, picks: Picks) -> dict[str, Any]:
        """Return the value of each searched path, objects whole, derived values included.

        Raises:
            ValueError: a derived value cannot be computed here.

        """
        values: dict[str, Any] = {}
        for each in self.active(picks):
            picked = picks[each.name]
            value = copy.deepcopy(each.domain.values[picked]) if isinstance(each.domain, Options) else picked
            if each.when:
                _put(values[_parent(each)], each.path.removeprefix(f"{_parent(each)}."), value)
            else:
                values[each.path] = value
        for row in self.derived:
            values[row.path] = row.value(plain_values(self.job, values))
        return values

    def picks_of(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Find the point of some values by path, perhaps not of all; None where they are no part of the space."""
        derived = {row.path for row in self.derived}
        try:
            return self.placed({path: value for path, value in values.items() if path not in derived})
        except Misfit:
            return None

    def placed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Find the point of some values by path, perhaps not of all.

        Raises:
            Misfit: they are no part of the space.

        """
        rest = dict(values)
        picks: dict[str, Any] = {}
        for each in self._outer:
            if isinstance(each.domain, Range):
                if each.path in rest:
                    picks[each.name] = _within(each, rest.pop(each.path))
            else:
                picks |= self._option(each, rest)
        for path in rest:
            derived = any(row.path == path for row in self.derived)
            reason = "follows from others; leave it out" if derived else "is not in sweep.space"
            raise Misfit(path, f"{path} {reason}")
        return picks

    def size(self) -> int | None:
        """Count the points; None where a range is continuous. Conditions count for up to COUNTED points."""
        return self._size

    @cached_property
    def bound(self) -> int | None:
        """The number of points if every condition were met; None where a range is continuous."""
        counts = [self._count(each) for each in self._outer]
        return None if None in counts else math.prod(count for count in counts if count is not None)

    @cached_property
    def _size(self) -> int | None:
        if self.bound is None or self.bound > COUNTED or not self.where:
            return self.bound
        return sum(1 for picks in self.grid() if self._allowed_picks(picks))

    def grid(self) -> Iterator[dict[str, Any]]:
        """Yield every point of a space that is not continuous, the last dimension fastest; conditions are not asked."""
        for parts in itertools.product(*(list(self._choices(each)) for each in self._outer)):
            yield {name: pick for part in parts for name, pick in part.items()}

    def allowed(self, values: Mapping[str, Any]) -> bool:
        """Tell whether a point, as the values of its paths, meets every condition."""
        try:
            return self.unmet(values) is None
        except ValueError:
            return False

    def unmet(self, values: Mapping[str, Any]) -> int | None:
        """Return which condition a point does not meet, None where it meets all.

        Raises:
            ValueError: a condition cannot be computed here.

        """
        if not self.where:
            return None
        every = plain_values(self.job, values)
        for index, condition in enumerate(self.where):
            if not condition.value(lambda path: value_at(every, path)):
                return index
        return None

    def makes_job(self, picks: Picks) -> bool:
        """Tell whether a point meets every condition and makes a job."""
        try:
            values = self.values(picks)
            if not self.allowed(values):
                return False
            point_job(self.job, values)
        except (ValueError, JobError):
            return False
        return True

    @cached_property
    def _outer(self) -> tuple[Dimension, ...]:
        return tuple(each for each in self.dimensions if not each.when)

    def inner(self, outer: Dimension, index: int) -> tuple[Dimension, ...]:
        """Return the dimensions that an option brings along."""
        return tuple(each for each in self.dimensions if (outer.name, index) in each.when)

    def _allowed_picks(self, picks: Picks) -> bool:
        try:
            return self.allowed(self.values(picks))
        except ValueError:
            return False

    def _count(self, each: Dimension) -> int | None:
        if isinstance(each.domain, Range):
            return each.domain.count
        total = 0
        for index in range(len(each.domain.values)):
            counts = [self._count(inner) for inner in self.inner(each, index)]
            if None in counts:
                return None
            total += math.prod(count for count in counts if count is not None)
        return total

    def _choices(self, each: Dimension) -> Iterator[dict[str, Any]]:
        """Yield every value of an outer dimension, with those of what it brings along."""
        if isinstance(each.domain, Range):
            for value in each.domain.points():
                yield {each.name: value}
            return
        for index in range(len(each.domain.values)):
            pools = [list(self._choices(inner)) for inner in self.inner(each, index)]
            for parts in itertools.product(*pools):
                yield {each.name: index, **{name: pick for part in parts for name, pick in part.items()}}

    def _option(self, outer: Dimension, rest: dict[str, Any]) -> dict[str, Any]:
        """Find the option that values mean, by its own path or by what it brings along; takes them out of `rest`."""
        assert isinstance(outer.domain, Options)
        own = [rest.pop(outer.path)] if outer.path in rest else []
        paths = {each.path for each in self.dimensions if each.when and _parent(each) == outer.path}
        below = {path: rest.pop(path) for path in list(rest) if path in paths}
        if not own and not below:
            return {}
        for index, option in enumerate(outer.domain.values):
            inner = {each.path: each for each in self.inner(outer, index)}
            found = {outer.name: index}
            if all(_fits(written_out(value, outer.path), option, outer.path, inner, found) for value in own) and all(
                path in inner and _fits(value, None, path, inner, found) for path, value in below.items()
            ):
                return found
        path, value = (outer.path, own[0]) if own else next(iter(below.items()))
        raise Misfit(path, f"{text_of(value)} is none of what sweep.space.{outer.path} offers")


def _parent(each: Dimension) -> str:
    """Return the path of the choice that a dimension belongs to."""
    return each.when[-1][0]


def _put(target: dict[str, Any], path: str, value: Any) -> None:
    *above, last = path.split(".")
    for part in above:
        target = target.setdefault(part, {})
    target[last] = value


def _within(each: Dimension, value: Any) -> float:
    assert isinstance(each.domain, Range)
    if not each.domain.holds(value):
        low, high = each.domain.ends()
        raise Misfit(each.path, f"{text_of(value)} is not in the range from {text_of(low)} to {text_of(high)}")
    return _canonical(each.domain, value)


def _canonical(domain: Range, value: float) -> float:
    return domain.at(domain.index(value)) if domain.count is not None else float(value)


def _fits(value: Any, option: Any, path: str, inner: Mapping[str, Dimension], found: dict[str, Any]) -> bool:
    """Tell whether a value is an option or a part of it; collects the numbers of the ranges in it."""
    if path in inner:
        domain = inner[path].domain
        if not isinstance(domain, Range) or not domain.holds(value):
            return False
        found[inner[path].name] = _canonical(domain, value)
        return True
    if isinstance(value, Mapping) and isinstance(option, Mapping):
        return all(_fits(below, option.get(key), f"{path}.{key}", inner, found) for key, below in value.items())
    return same(value, option)


def same(left: Any, right: Any) -> bool:
    """Compare two values of a file: 1 and 1.0 are the same, 1 and true are not."""
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)
