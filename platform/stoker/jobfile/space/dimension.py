"""A dimension of the search space: a range of numbers or a list of options for one key of the job."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from stoker.jobfile.overlay import SPACE


@dataclass(frozen=True)
class Range:
    """Numbers from `minimum` to `maximum`, both included."""

    minimum: float
    maximum: float
    log: bool = False
    """Draw uniformly on a logarithmic scale."""
    step: float | None = None
    """Distance between the values, starting at the minimum."""
    integer: bool = False
    power: int | None = None
    """Base, if the values are integer powers."""

    @property
    def exponents(self) -> tuple[int, int]:
        """The first and the last exponent of a range of powers."""
        assert self.power is not None
        return exponent(self.minimum, self.power), exponent(self.maximum, self.power)

    @property
    def count(self) -> int | None:
        """The number of values; None for a continuous range."""
        if self.power is not None:
            first, last = self.exponents
            return last - first + 1
        step = self.step or (1 if self.integer else None)
        return None if step is None else round((self.maximum - self.minimum) / step) + 1

    def points(self) -> Iterator[float]:
        """Yield every value of a discrete range, in order."""
        for index in range(self.count or 0):
            yield self.at(index)

    def at(self, index: int) -> float:
        """Return the value at an index of a discrete range; computed in decimal, so that 0.1 * 3 is 0.3."""
        if self.power is not None:
            value = float(self.power) ** (self.exponents[0] + index)
        else:
            value = float(Decimal(str(self.minimum)) + index * Decimal(str(self.step or 1)))
        return int(value) if self.integer else value

    def index(self, value: float) -> int:
        """Return the index of the nearest value of a discrete range."""
        if self.power is not None:
            return exponent(value, self.power) - self.exponents[0]
        return round((value - self.minimum) / (self.step or 1))

    def holds(self, value: object) -> bool:
        """Return whether a value is in the range."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return False
        if not self.minimum <= value <= self.maximum:
            return False
        return self.count is None or math.isclose(self.at(self.index(value)), value, rel_tol=1e-9, abs_tol=1e-15)

    def ends(self) -> tuple[float, float]:
        """Return the first and the last value."""
        if self.count is not None:
            return self.at(0), self.at(self.count - 1)
        return self.minimum, self.maximum


@dataclass(frozen=True)
class Options:
    """A list of values to choose from; a range inside an object is a dimension of its own."""

    values: tuple[Any, ...]
    tag: str = ""
    """The key that distinguishes objects: `type` or `family`."""

    def label(self, index: int) -> str:
        """Return a short label of an option: an object's tag if no other option has it, else its text."""
        value = self.values[index]
        if isinstance(value, Mapping) and self.tag in value:
            tags = [each.get(self.tag) for each in self.values if isinstance(each, Mapping)]
            if tags.count(value[self.tag]) == 1:
                return str(value[self.tag])
        return text_of(value)


@dataclass(frozen=True)
class Dimension:
    """A searched key of the job."""

    name: str
    """The dotted path; a range inside an option also has the option's index: `training.optimizer[0].lr`."""
    path: str
    """Dotted path of the key in the job."""
    domain: Range | Options
    when: tuple[tuple[str, int], ...] = ()
    """Conditions for the dimension to be active: names of other dimensions, each with an option. Empty: always."""

    @property
    def place(self) -> str:
        """The path of its definition in the job file, as used by Marks."""
        return f"{SPACE}." + self.name.replace("[", ".").replace("]", "")


def exponent(value: float, base: int) -> int:
    """Return the exponent of the power of `base` that is nearest to a value."""
    return round(math.log(value) / math.log(base))


def text_of(value: Any) -> str:
    """Return a value as one line of YAML, for messages."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {text_of(below)}" for key, below in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(text_of, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
