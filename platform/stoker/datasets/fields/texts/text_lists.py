"""Cells that hold a list of texts, such as the sentences of a document or several summaries of it."""

import json
from typing import Any

from stoker.datasets.fields.category import as_text
from stoker.datasets.records import RawColumn


def joined_texts(raw: RawColumn) -> list[str]:
    """Return the text of each cell, empty where there is none; those of a list are joined by blanks."""
    return [" ".join(_listed(text)) for text in _texts(raw)]


def first_texts(raw: RawColumn) -> list[str]:
    """Return the text of each cell, empty where there is none; the first one of a list."""
    return [next(iter(_listed(text)), "") for text in _texts(raw)]


def _texts(raw: RawColumn) -> list[str]:
    return [text or "" for text in as_text(raw)]


def _listed(text: str) -> list[str]:
    """Return the texts of a JSON list, or the only text of another cell."""
    if not (text.startswith("[") and text.endswith("]")):
        return [text]
    try:
        values: list[Any] = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return [text]
    return values if all(isinstance(value, str) for value in values) else [text]
