"""A job as MLflow's parameters: dotted paths and text."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

REFUSED_IN_NAMES = re.compile(r"[^\w.\-: /]")
"""MLflow's names are letters, digits and these; a column's name may have others."""


def flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten objects to dotted paths; values and lists stay as they are."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            found |= flatten(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def to_parameters(content: Mapping[str, Any]) -> dict[str, str]:
    """Flatten a job to dotted paths; lists become JSON, and what is not set is left out."""
    return {
        REFUSED_IN_NAMES.sub("_", key): value if isinstance(value, str) else json.dumps(value)
        for key, value in flatten(content).items()
        if value is not None
    }


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Name each path by as much of its end as no other path has."""
    names = {}
    for path in paths:
        words = path.split(".")
        ends = [".".join(words[-length:]) for length in range(1, len(words) + 1)]
        names[path] = next(
            end for end in ends if end == path or sum(f".{other}".endswith(f".{end}") for other in paths) == 1
        )
    return names
