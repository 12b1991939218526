"""Reads what stands in `sweep.space` and `sweep.where`, with every mistake at its place."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stoker.errors import JobError, Problem
from stoker.job.job import Job
from stoker.jobfile.documentation import type_words
from stoker.jobfile.language import Shape
from stoker.jobfile.overlay import CHOICES, written_out
from stoker.jobfile.space.dimension import Dimension, Options, Range, exponent, text_of
from stoker.jobfile.space.expressions import Expression
from stoker.jobfile.space.searched_key import known_name, searched_shape
from stoker.jobfile.space.space import Derived, Space, same
from stoker.jobfile.suggestion import did_you_mean

RANGE_KEYS = ("min", "max", "log", "step", "power")
PLACE = "sweep.space"
NUMBERS = "a number", "a whole number", "a stretch of training", ""
"""How the words for a key begin that a range can stand for; the last: a setting of the user's own."""


def read_space(job: Job) -> Space:
    """Return the space of a job that has a sweep.

    Raises:
        JobError: with every mistake in it.

    """
    space, problems = examine_space(job)
    if problems:
        raise JobError(problems)
    return space


def examine_space(job: Job) -> tuple[Space, list[Problem]]:
    """Return what could be read of the space of a job that has a sweep, and all mistakes in it."""
    assert job.sweep is not None
    reading = _Reading(job)
    for path, entry in job.sweep.space.items():
        reading.entry(path, entry)
    reading.overlaps()
    where = reading.conditions(job.sweep.where)
    return Space(job, tuple(reading.dimensions), reading.ordered_derived(), where), reading.problems


@dataclass
class _Reading:
    job: Job
    dimensions: list[Dimension] = field(default_factory=list)
    derived: list[Derived] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def entry(self, path: str, entry: Any) -> None:
        """Read one key of the space."""
        place = f"{PLACE}.{path}"
        try:
            shape = searched_shape(path, self.job, self._tags())
        except ValueError as error:
            nested = _nested_hint(path, entry)
            return self.wrong(place, nested or str(error))
        if isinstance(entry, list):
            return self.choice(path, entry)
        if isinstance(entry, Mapping) and "from" in entry:
            return self.follows(path, entry, shape)
        if isinstance(entry, Mapping) and (_is_range(entry) or not _nested_hint(path, entry)):
            found = self.range(place, entry, shape)
            if found:
                self.dimensions.append(Dimension(path, path, found))
            return None
        hint = _nested_hint(path, entry) or (
            f"expected a list (a choice), {{min, max}} (a range) or {{from: ...}}, got {text_of(entry)}; "
            f"a value that all trials share stands under {path} itself"
        )
        return self.wrong(place, hint)

    def choice(self, path: str, entry: Sequence[Any]) -> None:
        """Read a list: each entry is a value, or an object that may hold ranges."""
        place = f"{PLACE}.{path}"
        if len(entry) < 2:
            cure = f"; set {path} itself and take it out of the space" if entry else ""
            return self.wrong(place, f"a choice of {'one' if entry else 'nothing'} leaves nothing to search{cure}")
        options = [written_out(each, path) for each in entry]
        for index, each in enumerate(options):
            twin = next((earlier for earlier in range(index) if same(options[earlier], each)), None)
            if twin is not None:
                self.wrong(f"{place}.{index}", f"{text_of(entry[index])} stands twice in this choice; keep one")
        tag = CHOICES.get(path, "")
        inner: list[Dimension] = []
        plain = []
        for index, each in enumerate(options):
            plain.append(self.option(path, path, each, tag, (path, index), inner))
        self.dimensions += [Dimension(path, path, Options(tuple(plain), tag)), *inner]
        return None

    def option(self, outer: str, path: str, value: Any, tag: str, when: tuple[str, int], inner: list[Dimension]) -> Any:
        """Read an option; returns it without its ranges, which become dimensions."""
        if not isinstance(value, Mapping):
            return list(value) if isinstance(value, tuple) else value
        tags = {outer: [str(value[tag])]} if path == outer and tag in value else None
        plain = {}
        for key, below in value.items():
            here = f"{path}.{key}"
            if isinstance(below, Mapping) and _is_range(below):
                name = f"{outer}[{when[1]}]{here.removeprefix(outer)}"
                place = f"{PLACE}.{outer}.{when[1]}{here.removeprefix(outer)}"
                try:
                    shape = searched_shape(here, self.job, {**self._tags(), **(tags or {})})
                except ValueError as error:
                    self.wrong(place, str(error))
                    continue
                if found := self.range(place, below, shape):
                    inner.append(Dimension(name, here, found, (when,)))
            else:
                plain[key] = self.option(outer, here, below, tag, when, inner)
        return plain

    def range(self, place: str, entry: Mapping[str, Any], shape: Shape) -> Range | None:
        """Read a range of numbers."""
        before = len(self.problems)
        words = type_words(shape)
        if shape.items is not None or shape.words or shape.section or shape.choices or not words.startswith(NUMBERS):
            self.wrong(place, f"a range is of numbers, and here stands {words}; write a list of values")
            return None
        for key in entry:
            if key not in RANGE_KEYS:
                near = did_you_mean(str(key), RANGE_KEYS) or f"; known are {', '.join(RANGE_KEYS)}"
                self.wrong(f"{place}.{key}", f"unknown key for a range{near}")
        integer = shape.scalar == "a whole number"
        for key in ("min", "max", *(key for key in ("step", "power") if entry.get(key) is not None)):
            if key not in entry:
                self.wrong(place, f"a range needs both min and max; '{key}' is missing")
            elif not _is_number(entry[key]):
                self.wrong(f"{place}.{key}", f"{text_of(entry[key])} is not a number (example: {key}: 3e-4)")
            elif integer and not isinstance(entry[key], int):
                self.wrong(f"{place}.{key}", f"{text_of(entry[key])} is not a whole number, and the key takes no other")
        if not isinstance(entry.get("log", False), bool):
            self.wrong(f"{place}.log", f"{text_of(entry['log'])} is neither true nor false")
        if len(self.problems) > before:
            return None
        given = [entry["min"], entry["max"], entry.get("step") or 0]
        integer = integer or (shape.scalar != "a number" and all(isinstance(number, int) for number in given))
        found = Range(
            entry["min"], entry["max"], entry.get("log", False), entry.get("step"), integer, entry.get("power")
        )
        for key, message in _range_mistakes(found):
            self.wrong(f"{place}.{key}", message)
        return found if len(self.problems) == before else None

    def follows(self, path: str, entry: Mapping[str, Any], shape: Shape) -> None:
        """Read a value that is derived from others."""
        place = f"{PLACE}.{path}"
        text = entry["from"]
        if len(entry) > 1:
            return self.wrong(place, "next to 'from' stands nothing else (example: {from: training.batch_size // 2})")
        if not isinstance(text, str):
            text = text_of(text)
        expression = self.expression(f"{place}.from", text)
        if expression:
            self.derived.append(Derived(path, expression, shape.scalar == "a whole number"))
        return None

    def conditions(self, texts: Sequence[str]) -> tuple[Expression, ...]:
        """Read `where`."""
        read = [self.expression(f"sweep.where.{index}", text) for index, text in enumerate(texts)]
        return tuple(each for each in read if each)

    def expression(self, place: str, text: str) -> Expression | None:
        """Read an expression and look its names up."""
        try:
            expression = Expression(text)
        except ValueError as error:
            self.wrong(place, f"'{text}' {error}")
            return None
        unknown = [message for name in expression.names if (message := known_name(name, self.job))]
        for message in unknown:
            self.wrong(place, message)
        return None if unknown else expression

    def overlaps(self) -> None:
        """Check that no value has two sources: its own entry, and the option of a choice around it."""
        entries = {each.path for each in self.dimensions if not each.when} | {each.path for each in self.derived}
        for each in self.dimensions:
            if not isinstance(each.domain, Options):
                continue
            for path in sorted(entries):
                if not path.startswith(f"{each.path}."):
                    continue
                below = path.removeprefix(f"{each.path}.")
                says = any(_says(option, below) for option in each.domain.values)
                if says or any(other.when and other.path == path for other in self.dimensions):
                    self.wrong(f"{PLACE}.{path}", f"{path} is also in an option of {each.path}; say it in one place")

    def ordered_derived(self) -> tuple[Derived, ...]:
        """Order derived values so that each comes after those it is made of."""
        waiting, done = list(self.derived), list[Derived]()
        while waiting:
            open_paths = {each.path for each in waiting}
            ready = [each for each in waiting if not open_paths & set(each.expression.names)]
            if not ready:
                names = " and ".join(sorted(open_paths))
                self.wrong(f"{PLACE}.{waiting[0].path}", f"{names} follow from each other in a circle")
                break
            done += ready
            waiting = [each for each in waiting if each not in ready]
        return tuple(done)

    def wrong(self, place: str, message: str) -> None:
        """Note a mistake."""
        self.problems.append(Problem(place, message))

    def _tags(self) -> dict[str, list[str]]:
        """Return the options of the choices that are searched themselves, whatever their place in the file."""
        assert self.job.sweep is not None
        found = {}
        for path, tag in CHOICES.items():
            entry = self.job.sweep.space.get(path)
            options = [written_out(each, path) for each in entry] if isinstance(entry, list) else []
            tags = [str(each[tag]) for each in options if isinstance(each, Mapping) and tag in each]
            if tags:
                found[path] = tags
        return found


def _range_mistakes(found: Range) -> list[tuple[str, str]]:
    """Return what is wrong with the numbers of a range, by its key."""
    low, high, step = text_of(found.minimum), text_of(found.maximum), found.step
    if found.minimum >= found.maximum:
        return [("min", f"min ({low}) must be below max ({high})")]
    if found.log and found.minimum <= 0:
        return [
            ("min", f"a log range begins above 0, not at {low}; use min: {text_of(found.maximum / 1000)} or no log")
        ]
    if (found.log or found.power is not None) and step is not None:
        return [("step", f"step does not go with {'log' if found.log else 'power'}; leave one out")]
    if found.log and found.power is not None:
        return [("log", "powers are drawn evenly over the orders of magnitude anyway; leave log out")]
    if step is not None:
        return _step_mistakes(found, step)
    return _power_mistakes(found, found.power) if found.power is not None else []


def _step_mistakes(found: Range, step: float) -> list[tuple[str, str]]:
    if step <= 0:
        return [("step", f"{text_of(step)} is not above 0")]
    steps = (found.maximum - found.minimum) / step
    if math.isclose(steps, round(steps), rel_tol=1e-9) and round(steps) > 0:
        return []
    if steps < 1:
        return [("step", f"a step of {text_of(step)} is longer than the range; use less, or a list of values")]
    below, above = (text_of(found.minimum + count * step) for count in (math.floor(steps), math.ceil(steps)))
    return [("max", f"steps of {text_of(step)} do not end at {text_of(found.maximum)}; use max: {below} or {above}")]


def _power_mistakes(found: Range, power: int) -> list[tuple[str, str]]:
    if not isinstance(power, int) or power < 2:
        return [("power", f"{text_of(power)} is not a whole number of 2 or more (example: power: 2)")]
    if found.minimum <= 0:
        return [("min", f"{text_of(found.minimum)} is no power of {power}; use 1 or more")]
    wrong = []
    for key, value in (("min", found.minimum), ("max", found.maximum)):
        if not math.isclose(float(power) ** exponent(value, power), value, rel_tol=1e-12):
            below = math.floor(math.log(value) / math.log(power))
            cures = [text_of(power**each if each >= 0 else float(power) ** each) for each in (below, below + 1)]
            wrong.append((key, f"{text_of(value)} is no power of {power}; use {' or '.join(cures)}"))
    return wrong


def _is_range(entry: Mapping[str, Any]) -> bool:
    return "min" in entry or "max" in entry


def _nested_hint(path: str, entry: Any) -> str:
    """Say how an entry is written whose path was cut into objects."""
    if isinstance(entry, Mapping) and entry and not any(key in entry for key in (*RANGE_KEYS, "from")):
        key, below = next(iter(entry.items()))
        while isinstance(below, Mapping) and below and not _is_range(below) and "from" not in below:
            inner, below = next(iter(below.items()))
            key = f"{key}.{inner}"
        if isinstance(below, (Mapping, list)):
            return f"a key of the space is one dotted path: write {path}.{key}: {text_of(below)}"
    return ""


def _says(option: Any, path: str) -> bool:
    for part in path.split("."):
        if not isinstance(option, Mapping) or part not in option:
            return False
        option = option[part]
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
