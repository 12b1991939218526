"""Which files are in the JSON of COCO, by their first characters: `validate` looks without reading them."""

import re
from pathlib import Path

INSTANCES, CAPTIONS = "instances_", "captions_"
"""Beginnings of the names that COCO itself gives files with boxes and with captions of the same pictures."""
_BEGINNING = 1 << 16
"""Characters of a file that tell COCO from other JSON: behind the licences there are entries."""
_FIRST_KEY = re.compile(r'\s*\{\s*"(info|licenses|images|annotations|categories|type)"\s*:')
_KEYS = ('"file_name"', '"category_id"', '"supercategory"')
"""Of entries."""


def annotation_files(path: Path) -> list[Path]:
    """Return the files in COCO's JSON."""
    if path.is_file():
        return [path]
    files = sorted(file for pattern in ("*.json", "*/*.json") for file in path.glob(pattern) if file.is_file())
    found = [file for file in files if not file.name.startswith((".", CAPTIONS)) and is_coco(file)]
    return [file for file in found if file.name.startswith(INSTANCES)] or found


def is_coco(file: Path) -> bool:
    """Return whether a file begins like COCO's JSON."""
    with file.open(encoding="utf-8", errors="replace") as opened:
        begins = opened.read(_BEGINNING)
    return _FIRST_KEY.match(begins) is not None and any(key in begins for key in _KEYS)
