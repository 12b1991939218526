"""Durations, numbers and values as text."""

import json
from typing import Any

SMALL = 1e-3
"""Smaller numbers have an exponent."""
UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def duration_text(seconds: float) -> str:
    """Return a duration with its two largest units: `42 s`, `3 min 12 s`, `2 h 5 min`."""
    left = max(0, round(seconds))
    numbers = []
    for unit, size in UNITS:
        numbers.append((left // size, unit))
        left %= size
    while len(numbers) > 1 and not numbers[0][0]:
        numbers.pop(0)
    return " ".join(f"{number} {unit}" for number, unit in numbers[:2] if number) or "0 s"


def age_text(seconds: float) -> str:
    """Return an age with its largest unit."""
    for unit, size in UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "now"


def ago_text(seconds: float) -> str:
    """Return how long ago something was."""
    text = age_text(seconds)
    return text if text == "now" else f"{text} ago"


def number_text(value: float) -> str:
    """Return a metric with four digits."""
    return f"{value:.4g}"


def value_text(value: Any) -> str:
    """Return a value of a job in short form, as in the file: `3e-4`, `[64,32]`, `adamw`."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        mantissa, mark, exponent = (f"{value:.2e}" if 0 < abs(value) < SMALL else f"{value:.3g}").partition("e")
        whole = mantissa.rstrip("0").rstrip(".") if mark and "." in mantissa else mantissa
        return f"{whole}e{int(exponent)}" if mark else whole
    return json.dumps(value, separators=(",", ":"))


def shortened(text: str, width: int) -> str:
    """Return a text cut to a width."""
    return text if len(text) <= width else f"{text[: max(0, width - 1)]}…"


def metric_text(name: str, value: float) -> str:
    """Return a metric with its name."""
    return f"{name} {number_text(value)}"
