"""What one searched key may be: a range of numbers or one of several options."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any


@dataclass(frozen=True)
class Range:
    """Numbers from `minimum` to `maximum`, both included."""

    minimum: float
    maximum: float
    log: bool = False
    """Drawn evenly over the orders of magnitude."""
    step: float | None = None
    """Distance of the values, counted from the minimum."""
    integer: bool = False
    power: int | None = None
    """The values are whole powers of this."""

    @property
    def exponents(self) -> tuple[int, int]:
        """The first and the last exponent of a range of powers."""
        assert self.power is not None
        return exponent(self.minimum, self.power), exponent(self.maximum, self.power)

    @property
    def count(self) -> int | None:
        """How many values there are; None where they are continuous."""
        if self.power is not None:
            first, last = self.exponents
            return last - first + 1
        step = self.step or (1 if self.integer else None)
        return None if step is None else round((self.maximum - self.minimum) / step) + 1

    def points(self) -> Iterator[float]:
        """Yield every value of a range that is not continuous, in order."""
        for index in range(self.count or 0):
            yield self.at(index)

    def at(self, index: int) -> float:
        """Return a value by its place in a range that is not continuous; decimal, so that 0.1 * 3 is 0.3."""
        if self.power is not None:
            value = float(self.power) ** (self.exponents[0] + index)
        else:
            value = float(Decimal(str(self.minimum)) + index * Decimal(str(self.step or 1)))
        return int(value) if self.integer else value

    def index(self, value: float) -> int:
        """Return the place of the value that is nearest, in a range that is not continuous."""
        if self.power is not None:
            return exponent(value, self.power) - self.exponents[0]
        return round((value - self.minimum) / (self.step or 1))

    def holds(self, value: object) -> bool:
        """Tell whether a value is one of the range."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return False
        if not self.minimum <= value <= self.maximum:
            return False
        return self.count is None or math.isclose(self.at(self.index(value)), value, rel_tol=1e-9, abs_tol=1e-15)

    def ends(self) -> tuple[float, float]:
        """Return both ends as the job's key takes them."""
        if self.count is not None:
            return self.at(0), self.at(self.count - 1)
        return self.minimum, self.maximum


@dataclass(frozen=True)
class Options:
    """One of several values; of an object, the ranges in it are dimensions of their own."""

    values: tuple[Any, ...]
    tag: str = ""
    """The key that tells objects apart: `type` or `family`."""

    def label(self, index: int) -> str:
        """Name an option in a few characters: an object by its tag where that is its own."""
        value = self.values[index]
        if isinstance(value, Mapping) and self.tag in value:
            tags = [each.get(self.tag) for each in self.values if isinstance(each, Mapping)]
            if tags.count(value[self.tag]) == 1:
                return str(value[self.tag])
        return text_of(value)


@dataclass(frozen=True)
class Dimension:
    """A key that is searched."""

    name: str
    """The dotted path; for what an option holds, with the option's place: `training.optimizer[0].lr`."""
    path: str
    """Where the value stands in the job."""
    domain: Range | Options
    when: tuple[tuple[str, int], ...] = ()
    """Names of dimensions and the options they must have; all must hold. Empty: always."""

    @property
    def place(self) -> str:
        """Where it stands in the sweep, as marks name it."""
        return "sweep.space." + self.name.replace("[", ".").replace("]", "")


def exponent(value: float, base: int) -> int:
    """Return the exponent of the nearest power."""
    return round(math.log(value) / math.log(base))


def text_of(value: Any) -> str:
    """Write a value in one line, as a job file would."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {text_of(below)}" for key, below in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(text_of, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
