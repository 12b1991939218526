"""The conversion of a job to MLflow parameters: dotted paths with text values."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

REFUSED_IN_NAMES = re.compile(r"[^\w.\-: /]")
"""Characters that MLflow refuses in names; a column's name may have them."""


def flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested objects to dotted paths; values and lists stay as they are."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            found |= flatten(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def to_parameters(content: Mapping[str, Any]) -> dict[str, str]:
    """Flatten a job to dotted paths with text values; lists become JSON, unset values are left out."""
    return {
        REFUSED_IN_NAMES.sub("_", key): value if isinstance(value, str) else json.dumps(value)
        for key, value in flatten(content).items()
        if value is not None
    }


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Shorten each path to the end that no other path shares."""
    names = {}
    for path in paths:
        words = path.split(".")
        ends = [".".join(words[-length:]) for length in range(1, len(words) + 1)]
        names[path] = next(
            end for end in ends if end == path or sum(f".{other}".endswith(f".{end}") for other in paths) == 1
        )
    return names
