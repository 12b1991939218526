"""Tries points of a space as whole jobs before any of them runs, and names one that is none."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from stoker.errors import JobError, Problem
from stoker.jobfile.space.dimension import Dimension, Options, Range, text_of
from stoker.jobfile.space.point import located_in, point_job
from stoker.jobfile.space.space import COUNTED, Picks, Space

CORNERS = 200
"""Points tried of those that differ from the first in one dimension."""
SAMPLES = 20
"""Points tried of those drawn at random; also tried in place of a first point that is forbidden."""
ALLOWED_TRIED = 1000
"""Points tried until one meets every condition."""
SHOWN = 4
"""Values of an example that a message shows."""


@dataclass(frozen=True)
class _Refusal:
    """Why a point is no job: the key of the job, and the words."""

    path: str
    message: str


def sample_problems(space: Space) -> list[Problem]:
    """Return a problem for every mistake that the tried points have; a point that `where` forbids has none."""
    draw = random.Random(0)  # noqa: S311 - examples, the same each time
    base = _first_allowed(space, draw)
    if isinstance(base, Problem):
        return [base]
    found: dict[_Refusal, Problem] = {}
    for example, varied in islice(_near(space, base), CORNERS):
        _try(space, example, varied, found)
    for _ in range(SAMPLES):
        _try(space, draw_picks(space, draw), None, found)
    return list(found.values())


def draw_picks(space: Space, draw: random.Random) -> dict[str, Any]:
    """Draw a point, each dimension on its own."""
    picks: dict[str, Any] = {}
    for each in space.dimensions:
        if all(picks.get(name) == index for name, index in each.when):
            picks[each.name] = _draw(each.domain, draw)
    return picks


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


def _first(space: Space, picks: dict[str, Any]) -> dict[str, Any]:
    """Complete a point with the first value of what it does not say."""
    complete: dict[str, Any] = {}
    for each in space.dimensions:
        if all(complete.get(name) == index for name, index in each.when):
            first = 0 if isinstance(each.domain, Options) else each.domain.ends()[0]
            complete[each.name] = picks.get(each.name, first)
    return complete


def _first_allowed(space: Space, draw: random.Random) -> dict[str, Any] | Problem:
    """Find a point that meets every condition and is a job, one near the first values where it can be."""
    base = _first(space, {})
    for tried in range(ALLOWED_TRIED):
        picks = base if tried == 0 else draw_picks(space, draw)
        try:
            values = space.values(picks)
            unmet = space.unmet(values)
        except ValueError as error:
            return _cannot_compute(space, picks, str(error))
        if unmet is None:
            return picks
    if _some_point_is_allowed(space):
        return base
    values = space.values(base)
    unmet = space.unmet(values)
    text = space.where[unmet].text if unmet is not None else space.where[0].text
    message = f"no point of {ALLOWED_TRIED} meets every condition; '{text}' forbids {_shown(values)}"
    return Problem(f"sweep.where.{unmet or 0}", message)


def _some_point_is_allowed(space: Space) -> bool:
    """Look at every point of a small space."""
    if space.bound is None or space.bound > COUNTED // 5:
        return False
    return any(space.allowed(space.values(picks)) for picks in space.grid())


def _cannot_compute(space: Space, picks: Picks, message: str) -> Problem:
    """Place an expression that has no value for a point."""
    for each in space.derived:
        if message.startswith(f"'{each.expression.text}'"):
            return Problem(f"sweep.space.{each.path}", f"{message}{_with(space, picks)}")
    for index, condition in enumerate(space.where):
        if message.startswith(f"'{condition.text}'"):
            return Problem(f"sweep.where.{index}", f"{message}{_with(space, picks)}")
    return Problem("sweep.where", message)


def _with(space: Space, picks: Picks) -> str:
    plain = Space(space.job, space.dimensions).values(picks)
    return f", with {_shown(plain)}"


def _near(space: Space, base: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Dimension]]:
    """Yield points that differ from the base in one dimension, and which one that is; the base with the first."""
    for each in space.dimensions:
        around = {**base, **dict(each.when)}
        extremes = range(len(each.domain.values)) if isinstance(each.domain, Options) else each.domain.ends()
        for value in extremes:
            yield _first(space, {**around, each.name: value}), each


def _try(space: Space, picks: dict[str, Any], varied: Dimension | None, found: dict[_Refusal, Problem]) -> None:
    """Note why a point is no job, once for each reason."""
    try:
        values = space.values(picks)
        unmet = space.unmet(values)
    except ValueError as error:
        problem = _cannot_compute(space, picks, str(error))
        found.setdefault(_Refusal(problem.path, problem.message.partition(", with ")[0]), problem)
        return
    if unmet is not None:
        return
    try:
        point_job(space.job, values)
    except JobError as error:
        for problem in error.problems:
            _note(space, values, varied, problem, found)


def _note(
    space: Space, values: dict[str, Any], varied: Dimension | None, problem: Problem, found: dict[_Refusal, Problem]
) -> None:
    own = located_in(problem, list(values))
    place = f"sweep.space.{own}" if own else varied.place if varied else "sweep.space"
    if varied and own == varied.path and not isinstance(varied.domain, Options):
        place = varied.place
    if own and (index := _option_at(space, values, own)) is not None:
        place = f"sweep.space.{own}.{index}{problem.path.removeprefix(own)}"
    known = {(each.path, _kind(each.message)) for each in found.values()}
    example = {own: values[own]} if own else {}
    if varied and varied.path in values:
        example.setdefault(varied.path, values[varied.path])
    elif not varied:
        example |= values
    says = problem.message if problem.path == own else f"{problem.path} {problem.message}"
    message = f"with {_shown(example or values)}: {says}"
    if (place, _kind(message)) not in known:
        found.setdefault(_Refusal(problem.path, problem.message), Problem(place, message))


def _kind(message: str) -> str:
    """Reduce a message to its words: the same mistake with other numbers is told once."""
    return "".join(each for each in message.partition(": ")[2] if each.isalpha() or each == " ")


def _option_at(space: Space, values: dict[str, Any], path: str) -> int | None:
    outer = next((each for each in space.dimensions if each.path == path and not each.when), None)
    if outer is None or not isinstance(outer.domain, Options):
        return None
    picks = space.picks_of({path: values[path]})
    return None if picks is None else int(picks[outer.name])


def _shown(values: dict[str, Any]) -> str:
    parts = [f"{path} = {text_of(value)}" for path, value in values.items()]
    return ", ".join(parts[:SHOWN]) + (", ..." if len(parts) > SHOWN else "")
