"""The search space of a sweep: its points, and the values of the job at each of them."""

import copy
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from stoker.errors import JobError
from stoker.job.own_code import AnyJob
from stoker.jobfile.overlay import SPACE, expand_shorthand
from stoker.jobfile.space.dimension import Dimension, Options, Range, text_of
from stoker.jobfile.space.expressions import Expression
from stoker.jobfile.space.point import point_job, resolved_values, value_at

ENUMERATION_LIMIT = 10_000
"""Maximum size of a space whose points are enumerated, to count those that meet the conditions."""

Coordinates = Mapping[str, Any]
"""The coordinates of a point: for the name of each active dimension its number, or the index of its option."""


class NotInSpace(ValueError):
    """A value is outside of the search space; `path` is its key."""

    def __init__(self, path: str, message: str) -> None:
        self.path = path
        super().__init__(message)


@dataclass(frozen=True)
class Derived:
    """A key whose value is computed from others."""

    path: str
    expression: Expression
    integer: bool

    def value(self, values: Any) -> Any:
        """Return the value, computed from all values of a job.

        Raises:
            ValueError: it cannot be computed with these values.

        """
        found = self.expression.value(lambda path: value_at(values, path))
        whole = self.integer and isinstance(found, float) and found.is_integer()
        return int(found) if whole else found


@dataclass(frozen=True)
class Space:
    """The search space of `job`; dimensions are in the order of the file, those of an option after its choice."""

    job: AnyJob
    dimensions: tuple[Dimension, ...]
    derived: tuple[Derived, ...] = ()
    """Derived values, in an order in which they can be computed."""
    where: tuple[Expression, ...] = ()

    def active(self, coordinates: Coordinates) -> tuple[Dimension, ...]:
        """Return the dimensions that are active at a point."""
        return tuple(
            each for each in self.dimensions if all(coordinates.get(name) == index for name, index in each.when)
        )

    def values(self, coordinates: Coordinates) -> dict[str, Any]:
        """Return the value of each searched path at a point, with complete objects and derived values.

        Raises:
            ValueError: a derived value cannot be computed at this point.

        """
        values: dict[str, Any] = {}
        for each in self.active(coordinates):
            coordinate = coordinates[each.name]
            value = copy.deepcopy(each.domain.values[coordinate]) if isinstance(each.domain, Options) else coordinate
            if each.when:
                _put(values[_parent(each)], each.path.removeprefix(f"{_parent(each)}."), value)
            else:
                values[each.path] = value
        for row in self.derived:
            values[row.path] = row.value(resolved_values(self.job, values))
        return values

    def find(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the coordinates of values by path, which may be incomplete; None if they are outside of the space."""
        derived = {row.path for row in self.derived}
        try:
            return self.coordinates_of({path: value for path, value in values.items() if path not in derived})
        except NotInSpace:
            return None

    def coordinates_of(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the coordinates of values by path, which may be incomplete.

        Raises:
            NotInSpace: a value is outside of the space.

        """
        rest = dict(values)
        coordinates: dict[str, Any] = {}
        for each in self._outer:
            if isinstance(each.domain, Range):
                if each.path in rest:
                    coordinates[each.name] = _within(each, rest.pop(each.path))
            else:
                coordinates |= self._option(each, rest)
        for path in rest:
            derived = any(row.path == path for row in self.derived)
            reason = "is computed from others; leave it out" if derived else f"is not in {SPACE}"
            raise NotInSpace(path, f"{path} {reason}")
        return coordinates

    def size(self) -> int | None:
        """Return the number of points, None if a range is continuous; ignores conditions above ENUMERATION_LIMIT."""
        return self._size

    @cached_property
    def bound(self) -> int | None:
        """The number of points without conditions; None if a range is continuous."""
        counts = [self._count(each) for each in self._outer]
        return None if None in counts else math.prod(count for count in counts if count is not None)

    @cached_property
    def _size(self) -> int | None:
        if self.bound is None or self.bound > ENUMERATION_LIMIT or not self.where:
            return self.bound
        return sum(1 for coordinates in self.grid() if self._is_allowed(coordinates))

    def grid(self) -> Iterator[dict[str, Any]]:
        """Yield every point of a discrete space, the last dimension fastest; conditions are not checked."""
        for parts in itertools.product(*(list(self._choices(each)) for each in self._outer)):
            yield {name: coordinate for part in parts for name, coordinate in part.items()}

    def allowed(self, values: Mapping[str, Any]) -> bool:
        """Return whether the values of a point meet every condition."""
        try:
            return self.unmet(values) is None
        except ValueError:
            return False

    def unmet(self, values: Mapping[str, Any]) -> int | None:
        """Return the index of the first condition that the values of a point do not meet; None if they meet all.

        Raises:
            ValueError: a condition cannot be computed at this point.

        """
        if not self.where:
            return None
        every = resolved_values(self.job, values)
        for index, condition in enumerate(self.where):
            if not condition.value(lambda path: value_at(every, path)):
                return index
        return None

    def makes_job(self, coordinates: Coordinates) -> bool:
        """Return whether a point meets every condition and is a valid job."""
        try:
            values = self.values(coordinates)
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
        """Return the dimensions that are active only with an option."""
        return tuple(each for each in self.dimensions if (outer.name, index) in each.when)

    def _is_allowed(self, coordinates: Coordinates) -> bool:
        try:
            return self.allowed(self.values(coordinates))
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
        """Yield every value of an outer dimension, combined with the values of its inner dimensions."""
        if isinstance(each.domain, Range):
            for value in each.domain.points():
                yield {each.name: value}
            return
        for index in range(len(each.domain.values)):
            pools = [list(self._choices(inner)) for inner in self.inner(each, index)]
            for parts in itertools.product(*pools):
                yield {each.name: index, **{name: coordinate for part in parts for name, coordinate in part.items()}}

    def _option(self, outer: Dimension, rest: dict[str, Any]) -> dict[str, Any]:
        """Return the coordinates of an option, found by its value or by its keys, which are removed from `rest`."""
        assert isinstance(outer.domain, Options)
        own = [rest.pop(outer.path)] if outer.path in rest else []
        paths = {each.path for each in self.dimensions if each.when and _parent(each) == outer.path}
        below = {path: rest.pop(path) for path in list(rest) if path in paths}
        if not own and not below:
            return {}
        for index, option in enumerate(outer.domain.values):
            inner = {each.path: each for each in self.inner(outer, index)}
            found = {outer.name: index}
            if all(
                _fits(expand_shorthand(value, outer.path), option, outer.path, inner, found) for value in own
            ) and all(path in inner and _fits(value, None, path, inner, found) for path, value in below.items()):
                return found
        path, value = (outer.path, own[0]) if own else next(iter(below.items()))
        raise NotInSpace(path, f"{text_of(value)} is not one of the options of {SPACE}.{outer.path}")


def _parent(each: Dimension) -> str:
    """Return the path of the choice that contains an inner dimension."""
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
        raise NotInSpace(each.path, f"{text_of(value)} is not in the range from {text_of(low)} to {text_of(high)}")
    return _canonical(each.domain, value)


def _canonical(domain: Range, value: float) -> float:
    return domain.at(domain.index(value)) if domain.count is not None else float(value)


def _fits(value: Any, option: Any, path: str, inner: Mapping[str, Dimension], found: dict[str, Any]) -> bool:
    """Return whether a value equals an option or a part of it; adds the coordinates of its ranges to `found`."""
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
    """Return whether two values of a file are equal: 1 equals 1.0, but not true."""
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)
