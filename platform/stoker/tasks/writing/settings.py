"""How a text is written: the settings that `stoker generate` and a served model have in common, without torch."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from stoker.errors import JobError, Problem

LONGEST = 1_000_000
"""Most tokens of a text."""
HOTTEST = 100.0
"""Highest temperature."""


@dataclass(frozen=True)
class Writing:
    """How a text is written."""

    length: int = 200
    """Most tokens."""
    temperature: float = 0.8
    """Logits are divided by it: below 1 the likely tokens become likelier; 0 always takes the likeliest."""
    top_k: int | None = None
    """Only so many of the likeliest tokens are drawn."""
    top_p: float | None = None
    """Only the likeliest tokens that have this probability together are drawn (Holtzman et al. 2020)."""
    stop: tuple[str, ...] = ()
    """A text ends before the first of these."""

    def __post_init__(self) -> None:
        if problems := list(_problems(self)):
            raise JobError(problems)


def writing_of(parameters: Mapping[str, Any], default: Writing) -> Writing:
    """Return the settings of a request's parameters; those that are missing or None are as in the default.

    Raises:
        JobError: a value is out of its range; the message names the parameter and the range.

    """
    names = [each.name for each in fields(Writing)]
    given = {name: parameters[name] for name in names if parameters.get(name) is not None}
    return replace(default, **{**given, "stop": tuple(given.get("stop", default.stop))})


def parameter_defaults(default: Writing) -> dict[str, Any]:
    """Return each setting by name, as plain values, with the seed of the random numbers."""
    return {**asdict(default), "stop": list(default.stop), "seed": 0}


def _problems(writing: Writing) -> Iterator[Problem]:
    """Name the settings that are out of their ranges; a comparison with NaN is false."""
    if not 1 <= writing.length <= LONGEST:
        yield Problem("length", f"{writing.length} is out of range; use 1 to {LONGEST:,} tokens")
    if not 0 <= writing.temperature <= HOTTEST:
        message = f"{writing.temperature:g} is out of range; use 0, which always takes the likeliest, to {HOTTEST:g}"
        yield Problem("temperature", message)
    if writing.top_k is not None and writing.top_k < 1:
        yield Problem("top_k", f"{writing.top_k} is out of range; use 1 or more, or leave it out to draw from all")
    if writing.top_p is not None and not 0 < writing.top_p <= 1:
        message = f"{writing.top_p:g} is out of range; use more than 0, up to 1, or leave it out to draw from all"
        yield Problem("top_p", message)
    if "" in writing.stop:
        yield Problem("stop", "an empty text ends every text before it begins; leave it out")
