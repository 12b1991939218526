"""Finds what someone meant by a misspelt word."""

from collections.abc import Iterable

ALIKE = 70
"""Least likeness in percent; 'lable' and 'label' have 80, 'cnn' and 'rnn' 67."""


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word most like `word`, if one is alike enough."""
    from rapidfuzz import fuzz, process  # only after a mistake: a good file does not wait for it

    found = process.extractOne(
        word, list(known), scorer=fuzz.ratio, score_cutoff=ALIKE, processor=lambda text: text.lower().replace("_", "-")
    )
    return str(found[0]) if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'label'?`, or nothing where no known word is alike."""
    found = closest(word, known)
    return f"; did you mean '{found}'?" if found else ""
