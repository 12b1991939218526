"""Documents to learn to write from: joined, split, and cut into windows."""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from stoker.datasets.columns import Ragged, Windows
from stoker.datasets.fields.category import as_text
from stoker.datasets.records import PARTS, Records
from stoker.datasets.tokens.tokenizer import PADDING
from stoker.job.dataset import Split

MIN_DOCUMENTS = 10
"""With fewer, each document is split in itself."""
NEAR = 1000
"""Characters within which a document is cut at the end of a line."""


def as_documents(records: Records, name: str, format_name: str | None) -> Records:
    """Return the lines of a text file as one document; other samples are documents already."""
    if format_name != "text" or records.names:
        return records
    text = "\n".join(each or "" for each in as_text(records.columns[name]))
    return Records({name: pd.Series([text], dtype=object)}, records.label)


def split_within(records: Records, name: str, split: Split) -> Records:
    """Return few documents cut into parts: the beginning of each is for training, the end for the test."""
    texts: list[str] = []
    parts: list[str] = []
    for text in as_text(records.columns[name]):
        begin = 0
        for part, end in zip(PARTS, _ends(text or "", split), strict=True):
            if end > begin:
                texts.append((text or "")[begin:end])
                parts.append(part)
            begin = end
    return replace(records, columns={name: pd.Series(texts, dtype=object)}, parts=np.array(parts), names=())


def _ends(text: str, split: Split) -> list[int]:
    """Return where the parts of a text end."""
    shares = np.cumsum([split.train, split.val, split.test])
    ends = []
    for share in shares:
        place = round(len(text) * min(float(share), 1.0))
        line = text.find("\n", place, place + NEAR)
        ends.append(len(text) if place >= len(text) else line + 1 if line >= 0 else place)
    return ends


def windows(texts: Ragged, length: int) -> tuple[Windows, Windows]:
    """Return windows of tokens over texts that follow one another, and of what follows each token.

    Together they predict every token but the first one exactly once; the last window is filled up with padding.

    Args:
        texts: with the token of their end.
        length: of a window.

    """
    predicted = max(len(texts.values) - 1, 0)
    count = -(-predicted // length)
    filled = torch.full((count * length + 1,), PADDING, dtype=texts.values.dtype)
    filled[: len(texts.values)] = texts.values
    starts, steps = torch.arange(count) * length, torch.arange(length)
    return Windows(filled, starts, steps), Windows(filled, starts, steps + 1)
