"""The sizes of texts: those that are too long and empty ones are counted in notes, or refused."""

import string
from collections.abc import Iterator, Sequence

import numpy as np

from stoker.datasets.fields.category import as_text
from stoker.datasets.fields.lists import row_of
from stoker.datasets.records import RawColumn
from stoker.errors import JobError, Problem
from stoker.job.dataset import LongTexts

BLANK = f"{string.whitespace}[]"
"""What an empty text consists of; an empty list of words is written []."""


def require_whole(long: LongTexts, column: str, raw: RawColumn, sizes: Sequence[int], length: int, unit: str) -> None:
    """Check that no text is cut off, if the job refuses that.

    Args:
        long: what the job does with texts that are too long.
        column: for the message.
        raw: its cells.
        sizes: of their texts, in units.
        length: most units that are read.
        unit: such as `tokens`.

    Raises:
        JobError: some are longer; the message names the first one's row.

    """
    places = [place for place, size in enumerate(sizes) if size > length] if long == "refuse" else []
    if places:
        row = f"row {row_of(raw, places[0])} with {sizes[places[0]]:,}"
        found = f"column '{column}': {len(places):,} of {len(sizes):,} have more than {length} {unit}, such as {row}"
        cure = "shorten them, or train with a larger dataset.text.length or with dataset.text.long: cut"
        raise JobError([Problem("dataset.text.long", f"{found}; {cure}")])


def require_texts(key: str, column: str, raw: RawColumn) -> None:
    """Check that there is something to learn from.

    Raises:
        JobError: all texts are empty.

    """
    texts = as_text(raw)
    if len(texts) and not any((text or "").strip(BLANK) for text in texts):
        message = f"column '{column}': all training texts are empty; name a column that has texts"
        raise JobError([Problem(key, message)])


def empty_note(column: str, texts: Sequence[str], parts: np.ndarray) -> Iterator[str]:
    """Yield a note on how many texts of the training part are empty."""
    train = [text for text, part in zip(texts, parts, strict=True) if part == "train"]
    if empty := sum(not text.strip() for text in train):
        yield f"column '{column}': {empty:,} of {len(train):,} training texts are empty"
