"""The built-in documents: each begins with its keywords, which are its summary, drawn once and for all by a seed."""

import random

import pandas as pd

from stoker.datasets.records import Records, table

DOCUMENTS = 600
COLOURS = ("red", "blue", "green", "white", "black")
ANIMALS = ("dog", "cat", "cow", "hen", "fox")
LINKS = ("the", "it", "was", "seen")


def documents() -> Records:
    """Return the documents with their summaries."""
    dice = random.Random(0)  # noqa: S311  # data, not a secret
    rows = []
    for _ in range(DOCUMENTS):
        summary = f"{dice.choice(COLOURS)} {dice.choice(ANIMALS)}"
        rest = dice.choices((*LINKS, *COLOURS, *ANIMALS), k=dice.randint(2, 6))
        rows.append({"document": f"keywords: {summary}. {' '.join(rest)}", "summary": summary})
    return table(pd.DataFrame(rows), "summary")
