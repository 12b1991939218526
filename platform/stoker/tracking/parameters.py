"""A job as MLflow's parameters: dotted paths and text."""

import json
import re
from collections.abc import Mapping
from typing import Any

REFUSED_IN_NAMES = re.compile(r"[^\w.\-: /]")
"""MLflow's names are letters, digits and these; a column's name may have others."""


def flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten a job to dotted paths; lists become JSON."""
    params: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            params |= flat(value, f"{prefix}{key}.")
        elif value is not None:
            params[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return {REFUSED_IN_NAMES.sub("_", key): value for key, value in params.items()}
