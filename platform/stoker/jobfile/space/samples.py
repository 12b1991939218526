"""Checks sample points of a search space as jobs before a sweep starts, and reports those that are invalid."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from stoker.errors import JobError, Problem
from stoker.jobfile.overlay import SPACE
from stoker.jobfile.space.dimension import Dimension, Options, Range, text_of
from stoker.jobfile.space.point import enclosing_path, point_job
from stoker.jobfile.space.space import ENUMERATION_LIMIT, Coordinates, Space

CORNERS = 200
"""Maximum number of checked points that differ from the first point in one dimension."""
SAMPLES = 20
"""Number of checked points that are drawn at random."""
ALLOWED_TRIED = 1000
"""Maximum number of points that are tried until one meets every condition."""
SHOWN = 4
"""Maximum number of values of a point in a message."""


@dataclass(frozen=True)
class _Mistake:
    """The reason why a point is not a valid job: the key of the job and the message."""

    path: str
    message: str


def sample_problems(space: Space) -> list[Problem]:
    """Return a problem for every mistake in the sample points; points that `where` forbids are skipped."""
    draw = random.Random(0)  # noqa: S311 - the same samples each time
    base = _first_allowed(space, draw)
    if isinstance(base, Problem):
        return [base]
    found: dict[_Mistake, Problem] = {}
    for example, varied in islice(_neighbours(space, base), CORNERS):
        _check_point(space, example, varied, found)
    for _ in range(SAMPLES):
        _check_point(space, draw_point(space, draw), None, found)
    return list(found.values())


def draw_point(space: Space, draw: random.Random) -> dict[str, Any]:
    """Return a random point, each dimension drawn independently."""
    coordinates: dict[str, Any] = {}
    for each in space.dimensions:
        if all(coordinates.get(name) == index for name, index in each.when):
            coordinates[each.name] = _draw(each.domain, draw)
    return coordinates


def _draw(domain: Range | Options, draw: random.Random) -> Any:
    if isinstance(domain, Options):
        return draw.randrange(len(domain.values))
    if domain.count is not None and not domain.log:
        return domain.at(draw.randrange(domain.count))
    if not domain.log:
        return draw.uniform(domain.minimum, domain.maximum)
    value = math.exp(draw.uniform(math.log(domain.minimum), math.log(domain.maximum)))
    value = min(max(value, domain.minimum), domain.maximum)
    return round(value) if domain.integer else value


def _first(space: Space, coordinates: dict[str, Any]) -> dict[str, Any]:
    """Return a point completed with the first value of each dimension that it does not set."""
    complete: dict[str, Any] = {}
    for each in space.dimensions:
        if all(complete.get(name) == index for name, index in each.when):
            first = 0 if isinstance(each.domain, Options) else each.domain.ends()[0]
            complete[each.name] = coordinates.get(each.name, first)
    return complete


def _first_allowed(space: Space, draw: random.Random) -> dict[str, Any] | Problem:
    """Return a point that meets every condition, preferably that of the first values, or a problem if there is none."""
    base = _first(space, {})
    for tried in range(ALLOWED_TRIED):
        coordinates = base if tried == 0 else draw_point(space, draw)
        try:
            values = space.values(coordinates)
            unmet = space.unmet(values)
        except ValueError as error:
            return _cannot_compute(space, coordinates, str(error))
        if unmet is None:
            return coordinates
    if _some_point_is_allowed(space):
        return base
    values = space.values(base)
    unmet = space.unmet(values)
    text = space.where[unmet].text if unmet is not None else space.where[0].text
    message = f"none of {ALLOWED_TRIED} points meets every condition; '{text}' forbids {_shown(values)}"
    return Problem(f"sweep.where.{unmet or 0}", message)


def _some_point_is_allowed(space: Space) -> bool:
    """Return whether any point of a small space meets every condition; False for a large space."""
    if space.bound is None or space.bound > ENUMERATION_LIMIT // 5:
        return False
    return any(space.allowed(space.values(coordinates)) for coordinates in space.grid())


def _cannot_compute(space: Space, coordinates: Coordinates, message: str) -> Problem:
    """Return the problem for an expression that cannot be computed at a point."""
    for each in space.derived:
        if message.startswith(f"'{each.expression.text}'"):
            return Problem(f"{SPACE}.{each.path}", f"{message}{_with(space, coordinates)}")
    for index, condition in enumerate(space.where):
        if message.startswith(f"'{condition.text}'"):
            return Problem(f"sweep.where.{index}", f"{message}{_with(space, coordinates)}")
    return Problem("sweep.where", message)


def _with(space: Space, coordinates: Coordinates) -> str:
    plain = Space(space.job, space.dimensions).values(coordinates)
    return f", with {_shown(plain)}"


def _neighbours(space: Space, base: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Dimension]]:
    """Yield points that differ from the base in one dimension, with that dimension."""
    for each in space.dimensions:
        around = {**base, **dict(each.when)}
        extremes = range(len(each.domain.values)) if isinstance(each.domain, Options) else each.domain.ends()
        for value in extremes:
            yield _first(space, {**around, each.name: value}), each


def _check_point(
    space: Space, coordinates: dict[str, Any], varied: Dimension | None, found: dict[_Mistake, Problem]
) -> None:
    """Add the mistakes of a point to `found`, each only once."""
    try:
        values = space.values(coordinates)
        unmet = space.unmet(values)
    except ValueError as error:
        problem = _cannot_compute(space, coordinates, str(error))
        found.setdefault(_Mistake(problem.path, problem.message.partition(", with ")[0]), problem)
        return
    if unmet is not None:
        return
    try:
        point_job(space.job, values)
    except JobError as error:
        for problem in error.problems:
            _add_mistake(space, values, varied, problem, found)


def _add_mistake(
    space: Space, values: dict[str, Any], varied: Dimension | None, problem: Problem, found: dict[_Mistake, Problem]
) -> None:
    own = enclosing_path(problem, list(values))
    place = f"{SPACE}.{own}" if own else varied.place if varied else SPACE
    if varied and own == varied.path and not isinstance(varied.domain, Options):
        place = varied.place
    if own and (index := _option_at(space, values, own)) is not None:
        place = f"{SPACE}.{own}.{index}{problem.path.removeprefix(own)}"
    known = {(each.path, _without_numbers(each.message)) for each in found.values()}
    example = {own: values[own]} if own else {}
    if varied and varied.path in values:
        example.setdefault(varied.path, values[varied.path])
    elif not varied:
        example |= values
    fault = problem.message if problem.path == own else f"{problem.path} {problem.message}"
    message = f"with {_shown(example or values)}: {fault}"
    if (place, _without_numbers(message)) not in known:
        found.setdefault(_Mistake(problem.path, problem.message), Problem(place, message))


def _without_numbers(message: str) -> str:
    """Return the words of a message: the same mistake with other numbers is reported once."""
    return "".join(each for each in message.partition(": ")[2] if each.isalpha() or each == " ")


def _option_at(space: Space, values: dict[str, Any], path: str) -> int | None:
    outer = next((each for each in space.dimensions if each.path == path and not each.when), None)
    if outer is None or not isinstance(outer.domain, Options):
        return None
    coordinates = space.find({path: values[path]})
    return None if coordinates is None else int(coordinates[outer.name])


def _shown(values: dict[str, Any]) -> str:
    parts = [f"{path} = {text_of(value)}" for path, value in values.items()]
    return ", ".join(parts[:SHOWN]) + (", ..." if len(parts) > SHOWN else "")
