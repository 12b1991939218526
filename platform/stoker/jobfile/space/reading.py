"""Reads `sweep.space` and `sweep.where` into a Space, and reports every mistake with its path."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stoker.errors import JobError, Problem
from stoker.job.own_code import AnyJob
from stoker.jobfile.documentation import describe_type
from stoker.jobfile.language import KeyType
from stoker.jobfile.overlay import CHOICES, SPACE, expand_shorthand
from stoker.jobfile.space.dimension import Dimension, Options, Range, text_of
from stoker.jobfile.space.expressions import Expression
from stoker.jobfile.space.range_checks import range_mistakes
from stoker.jobfile.space.searched_key import name_problem, searched_key_type
from stoker.jobfile.space.space import Derived, Space, same
from stoker.jobfile.suggestion import did_you_mean

RANGE_KEYS = ("min", "max", "log", "step", "power")
NUMBERS = "a number", "a whole number", "a training duration", ""
"""Prefixes of the type descriptions that a range can be used for; the empty one is a custom architecture's setting."""


def read_space(job: AnyJob) -> Space:
    """Return the search space of a job with a sweep.

    Raises:
        JobError: with every mistake in the space.

    """
    space, problems = examine_space(job)
    if problems:
        raise JobError(problems)
    return space


def examine_space(job: AnyJob) -> tuple[Space, list[Problem]]:
    """Return the valid part of the search space of a job with a sweep, and all mistakes in it."""
    assert job.sweep is not None
    reader = _SpaceReader(job)
    for path, entry in job.sweep.space.items():
        reader.entry(path, entry)
    reader.check_overlaps()
    where = reader.conditions(job.sweep.where)
    return Space(job, tuple(reader.dimensions), reader.ordered_derived(), where), reader.problems


@dataclass
class _SpaceReader:
    job: AnyJob
    dimensions: list[Dimension] = field(default_factory=list)
    derived: list[Derived] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def entry(self, path: str, entry: Any) -> None:
        """Read one key of the space."""
        place = f"{SPACE}.{path}"
        try:
            key_type = searched_key_type(path, self.job, self._tags())
        except ValueError as error:
            nested = _nested_hint(path, entry)
            return self.report(place, nested or str(error))
        if isinstance(entry, list):
            return self.choice(path, entry)
        if isinstance(entry, Mapping) and "from" in entry:
            return self.derived_value(path, entry, key_type)
        if isinstance(entry, Mapping) and (_is_range(entry) or not _nested_hint(path, entry)):
            found = self.range(place, entry, key_type)
            if found:
                self.dimensions.append(Dimension(path, path, found))
            return None
        hint = _nested_hint(path, entry) or (
            f"expected a list (a choice), {{min, max}} (a range) or {{from: ...}}, got {text_of(entry)}; "
            f"for one value in all trials set {path} itself"
        )
        return self.report(place, hint)

    def choice(self, path: str, entry: Sequence[Any]) -> None:
        """Read a choice: a list of values, or of objects that may contain ranges."""
        place = f"{SPACE}.{path}"
        if len(entry) < 2:
            cure = f"; set {path} itself and remove it from the space" if entry else ""
            return self.report(place, f"a choice of {'one' if entry else 'nothing'} leaves nothing to search{cure}")
        options = [expand_shorthand(each, path) for each in entry]
        for index, each in enumerate(options):
            twin = next((earlier for earlier in range(index) if same(options[earlier], each)), None)
            if twin is not None:
                self.report(f"{place}.{index}", f"{text_of(entry[index])} appears twice in this choice; keep one")
        tag = CHOICES.get(path, "")
        inner: list[Dimension] = []
        plain = []
        for index, each in enumerate(options):
            plain.append(self.option(path, path, each, tag, (path, index), inner))
        self.dimensions += [Dimension(path, path, Options(tuple(plain), tag)), *inner]
        return None

    def option(self, outer: str, path: str, value: Any, tag: str, when: tuple[str, int], inner: list[Dimension]) -> Any:
        """Return an option without its ranges, which are appended to `inner` as dimensions."""
        if not isinstance(value, Mapping):
            return list(value) if isinstance(value, tuple) else value
        tags = {outer: [str(value[tag])]} if path == outer and tag in value else None
        plain = {}
        for key, below in value.items():
            here = f"{path}.{key}"
            if isinstance(below, Mapping) and _is_range(below):
                name = f"{outer}[{when[1]}]{here.removeprefix(outer)}"
                place = f"{SPACE}.{outer}.{when[1]}{here.removeprefix(outer)}"
                try:
                    key_type = searched_key_type(here, self.job, {**self._tags(), **(tags or {})})
                except ValueError as error:
                    self.report(place, str(error))
                    continue
                if found := self.range(place, below, key_type):
                    inner.append(Dimension(name, here, found, (when,)))
            else:
                plain[key] = self.option(outer, here, below, tag, when, inner)
        return plain

    def range(self, place: str, entry: Mapping[str, Any], key_type: KeyType) -> Range | None:
        """Return a range of numbers; None if it has mistakes."""
        before = len(self.problems)
        words = describe_type(key_type)
        if (
            key_type.items is not None
            or key_type.words
            or key_type.section
            or key_type.choices
            or not words.startswith(NUMBERS)
        ):
            self.report(
                place, f"a range needs a key that takes numbers, this one takes {words}; write a list of values"
            )
            return None
        for key in entry:
            if key not in RANGE_KEYS:
                near = did_you_mean(str(key), RANGE_KEYS) or f"; known are {', '.join(RANGE_KEYS)}"
                self.report(f"{place}.{key}", f"unknown key for a range{near}")
        integer = key_type.scalar == "a whole number"
        for key in ("min", "max", *(key for key in ("step", "power") if entry.get(key) is not None)):
            if key not in entry:
                self.report(place, f"a range needs both min and max; '{key}' is missing")
            elif not _is_number(entry[key]):
                self.report(f"{place}.{key}", f"{text_of(entry[key])} is not a number (example: {key}: 3e-4)")
            elif integer and not isinstance(entry[key], int):
                self.report(f"{place}.{key}", f"{text_of(entry[key])} is not a whole number, which this key needs")
        if not isinstance(entry.get("log", False), bool):
            self.report(f"{place}.log", f"{text_of(entry['log'])} is neither true nor false")
        if len(self.problems) > before:
            return None
        given = [entry["min"], entry["max"], entry.get("step") or 0]
        integer = integer or (key_type.scalar != "a number" and all(isinstance(number, int) for number in given))
        found = Range(
            entry["min"], entry["max"], entry.get("log", False), entry.get("step"), integer, entry.get("power")
        )
        for key, message in range_mistakes(found):
            self.report(f"{place}.{key}", message)
        return found if len(self.problems) == before else None

    def derived_value(self, path: str, entry: Mapping[str, Any], key_type: KeyType) -> None:
        """Read a value that is computed from others."""
        place = f"{SPACE}.{path}"
        text = entry["from"]
        if len(entry) > 1:
            return self.report(place, "'from' must be the only key (example: {from: training.batch_size // 2})")
        if not isinstance(text, str):
            text = text_of(text)
        expression = self.expression(f"{place}.from", text)
        if expression:
            self.derived.append(Derived(path, expression, key_type.scalar == "a whole number"))
        return None

    def conditions(self, texts: Sequence[str]) -> tuple[Expression, ...]:
        """Read `where`."""
        read = [self.expression(f"sweep.where.{index}", text) for index, text in enumerate(texts)]
        return tuple(each for each in read if each)

    def expression(self, place: str, text: str) -> Expression | None:
        """Return an expression; None if it is wrong or uses an unknown name."""
        try:
            expression = Expression(text)
        except ValueError as error:
            self.report(place, f"'{text}' {error}")
            return None
        unknown = [message for name in expression.names if (message := name_problem(name, self.job))]
        for message in unknown:
            self.report(place, message)
        return None if unknown else expression

    def check_overlaps(self) -> None:
        """Check that no key is set both by its own entry and by an option of a choice that contains it."""
        entries = {each.path for each in self.dimensions if not each.when} | {each.path for each in self.derived}
        for each in self.dimensions:
            if not isinstance(each.domain, Options):
                continue
            for path in sorted(entries):
                if not path.startswith(f"{each.path}."):
                    continue
                below = path.removeprefix(f"{each.path}.")
                has_key = any(_has_key(option, below) for option in each.domain.values)
                if has_key or any(other.when and other.path == path for other in self.dimensions):
                    self.report(
                        f"{SPACE}.{path}", f"{path} is also in an option of {each.path}; set it in one place only"
                    )

    def ordered_derived(self) -> tuple[Derived, ...]:
        """Return the derived values in an order in which each comes after those that it uses."""
        waiting, done = list(self.derived), list[Derived]()
        while waiting:
            open_paths = {each.path for each in waiting}
            ready = [each for each in waiting if not open_paths & set(each.expression.names)]
            if not ready:
                names = " and ".join(sorted(open_paths))
                self.report(f"{SPACE}.{waiting[0].path}", f"{names} depend on each other in a cycle")
                break
            done += ready
            waiting = [each for each in waiting if each not in ready]
        return tuple(done)

    def report(self, place: str, message: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(place, message))

    def _tags(self) -> dict[str, list[str]]:
        """Return the tags of each choice that is searched itself, wherever it is in the file."""
        assert self.job.sweep is not None
        found = {}
        for path, tag in CHOICES.items():
            entry = self.job.sweep.space.get(path)
            options = [expand_shorthand(each, path) for each in entry] if isinstance(entry, list) else []
            tags = [str(each[tag]) for each in options if isinstance(each, Mapping) and tag in each]
            if tags:
                found[path] = tags
        return found


def _is_range(entry: Mapping[str, Any]) -> bool:
    return "min" in entry or "max" in entry


def _nested_hint(path: str, entry: Any) -> str:
    """Return how to write an entry whose path was nested as objects instead of dotted; empty for other entries."""
    if isinstance(entry, Mapping) and entry and not any(key in entry for key in (*RANGE_KEYS, "from")):
        key, below = next(iter(entry.items()))
        while isinstance(below, Mapping) and below and not _is_range(below) and "from" not in below:
            inner, below = next(iter(below.items()))
            key = f"{key}.{inner}"
        if isinstance(below, (Mapping, list)):
            return f"a key of the space is one dotted path: write {path}.{key}: {text_of(below)}"
    return ""


def _has_key(option: Any, path: str) -> bool:
    for part in path.split("."):
        if not isinstance(option, Mapping) or part not in option:
            return False
        option = option[part]
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
