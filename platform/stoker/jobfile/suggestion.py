"""Suggestions for misspelt words."""

from collections.abc import Iterable

MIN_SIMILARITY = 70
"""Similarity in percent from which a word is suggested: 'lable' and 'label' have 80, 'cnn' and 'rnn' 67."""


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most similar to `word`; None if none is similar enough."""
    from rapidfuzz import fuzz, process  # imported late: a correct file does not wait for it

    found = process.extractOne(
        word,
        list(known),
        scorer=fuzz.ratio,
        score_cutoff=MIN_SIMILARITY,
        processor=lambda text: text.lower().replace("_", "-"),
    )
    return str(found[0]) if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'label'?`, or an empty string if no known word is similar."""
    found = closest(word, known)
    return f"; did you mean '{found}'?" if found else ""
