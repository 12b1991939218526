"""How numbers and stretches of time read, and how the user writes them."""

import json
import re
from typing import Any

SECONDS = {"": 1, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
SMALL = 1e-3
"""Smaller numbers are written with an exponent."""
PARTS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def duration_text(seconds: float) -> str:
    """Write a stretch of time with its two largest units: `42 s`, `3 min 12 s`, `2 h 5 min`."""
    left = max(0, round(seconds))
    numbers = []
    for unit, size in PARTS:
        numbers.append((left // size, unit))
        left %= size
    while len(numbers) > 1 and not numbers[0][0]:
        numbers.pop(0)
    return " ".join(f"{number} {unit}" for number, unit in numbers[:2] if number) or "0 s"


def age_text(seconds: float) -> str:
    """Write how long ago something was, with its largest unit."""
    for unit, size in PARTS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "now"


def number_text(value: float) -> str:
    """Write a metric with four digits."""
    return f"{value:.4g}"


def value_text(value: Any) -> str:
    """Write a value of a job briefly, as the file would have it: `3e-4`, `[64,32]`, `adamw`."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        mantissa, mark, exponent = (f"{value:.2e}" if 0 < abs(value) < SMALL else f"{value:.3g}").partition("e")
        whole = mantissa.rstrip("0").rstrip(".") if mark and "." in mantissa else mantissa
        return f"{whole}e{int(exponent)}" if mark else whole
    return json.dumps(value, separators=(",", ":"))


def shortened(text: str, width: int) -> str:
    """Cut a text that is too wide."""
    return text if len(text) <= width else f"{text[: max(0, width - 1)]}…"


def metric_text(name: str, value: float) -> str:
    """Write a metric with its name."""
    return f"{name} {number_text(value)}"


def parse_seconds(text: str) -> float:
    """Read a length of time: `90`, `90s`, `10m`, `10 min`, `2h`, `1d`.

    Raises:
        ValueError: the text is not a length of time.

    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip())
    if match is None or match[2] not in SECONDS:
        raise ValueError(f"'{text}' is not a length of time (examples: 90s, 10m, 2h)")
    return float(match[1]) * SECONDS[match[2]]
