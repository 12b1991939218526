"""Names of the networks of torchvision and timm, read from their source: importing them takes seconds."""

import importlib.util
import re
from functools import cache
from pathlib import Path

from stoker.errors import Problem
from stoker.job.architecture.backbone import Backbone
from stoker.jobfile.suggestion import did_you_mean

NAME, LIBRARY = "architecture.backbone.name", "architecture.backbone.library"
LIBRARIES = ("torchvision", "timm")
"""In the order in which `auto` asks them."""
UNFIT = ("googlenet", "inception", "squeezenet")
"""Starts of networks of torchvision with several outputs, or without a last linear layer."""
CURE = "install it: pip install 'stoker[backbones]'"
_REGISTERED = re.compile(r"^@register_model\b.*\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)


def library_name(settings: Backbone) -> str | Problem:
    """Return the library that has a network, or why none has it."""
    wanted = LIBRARIES if settings.library == "auto" else (settings.library,)
    there = {library: networks(library) for library in wanted if importlib.util.find_spec(library) is not None}
    if not there:
        return Problem(LIBRARY, f"{settings.library} is not installed here; {CURE}")
    for library, known in there.items():
        if settings.name in known:
            return library
    names = [name for known in there.values() for name in known]
    bare, _, tag = settings.name.partition(".")
    if tag and bare in names:
        return Problem(NAME, f"'{settings.name}' has its weights in its name; write name: {bare} and weights: {tag}")
    more = f"; timm, which is not installed here, has more: {CURE}" if "timm" in set(wanted) - there.keys() else ""
    guess = did_you_mean(settings.name, names) or "; `stoker schema architecture.backbone.name` tells more"
    return Problem(NAME, f"no network '{settings.name}' in {' and '.join(there)}{guess}{more}")


@cache
def networks(library: str) -> tuple[str, ...]:
    """Return the names of the networks of an installed library that recognise pictures."""
    spec = importlib.util.find_spec(library)
    if spec is None or spec.origin is None:
        return ()
    files = sorted((Path(spec.origin).parent / "models").glob("*.py"))
    names = (name for file in files for name in _REGISTERED.findall(file.read_text(encoding="utf-8")))
    return tuple(name for name in sorted(names) if library != "torchvision" or not name.startswith(UNFIT))
