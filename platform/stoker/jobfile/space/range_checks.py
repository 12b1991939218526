"""Checks of the numbers of a range in the search space."""

import math

from stoker.jobfile.space.dimension import Range, exponent, text_of


def range_mistakes(numbers: Range) -> list[tuple[str, str]]:
    """Return the mistakes in the numbers of a range, each with its key."""
    low, high, step = text_of(numbers.minimum), text_of(numbers.maximum), numbers.step
    if numbers.minimum >= numbers.maximum:
        return [("min", f"min ({low}) must be below max ({high})")]
    if numbers.log and numbers.minimum <= 0:
        return [
            (
                "min",
                f"a log range must begin above 0, not at {low}; use min: {text_of(numbers.maximum / 1000)} or no log",
            )
        ]
    if (numbers.log or numbers.power is not None) and step is not None:
        return [("step", f"step cannot be combined with {'log' if numbers.log else 'power'}; leave one out")]
    if numbers.log and numbers.power is not None:
        return [("log", "powers are always drawn on a logarithmic scale; leave log out")]
    if step is not None:
        return _step_mistakes(numbers, step)
    return _power_mistakes(numbers, numbers.power) if numbers.power is not None else []


def _step_mistakes(numbers: Range, step: float) -> list[tuple[str, str]]:
    if step <= 0:
        return [("step", f"{text_of(step)} is not above 0")]
    steps = (numbers.maximum - numbers.minimum) / step
    if math.isclose(steps, round(steps), rel_tol=1e-9) and round(steps) > 0:
        return []
    if steps < 1:
        return [("step", f"a step of {text_of(step)} is longer than the range; use less, or a list of values")]
    below, above = (text_of(numbers.minimum + count * step) for count in (math.floor(steps), math.ceil(steps)))
    return [("max", f"steps of {text_of(step)} do not end at {text_of(numbers.maximum)}; use max: {below} or {above}")]


def _power_mistakes(numbers: Range, power: int) -> list[tuple[str, str]]:
    if not isinstance(power, int) or power < 2:
        return [("power", f"{text_of(power)} is not a whole number of 2 or more (example: power: 2)")]
    if numbers.minimum <= 0:
        return [("min", f"{text_of(numbers.minimum)} is not a power of {power}; use 1 or more")]
    wrong = []
    for key, value in (("min", numbers.minimum), ("max", numbers.maximum)):
        if not math.isclose(float(power) ** exponent(value, power), value, rel_tol=1e-12):
            below = math.floor(math.log(value) / math.log(power))
            cures = [text_of(power**each if each >= 0 else float(power) ** each) for each in (below, below + 1)]
            wrong.append((key, f"{text_of(value)} is not a power of {power}; use {' or '.join(cures)}"))
    return wrong
