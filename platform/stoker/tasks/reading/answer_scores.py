"""How well a text answers a question: exact match and F1 of words, as SQuAD defines them (Rajpurkar et al. 2016)."""

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLE = re.compile(r"\b(a|an|the)\b")
_WITHOUT_MARKS = str.maketrans("", "", string.punctuation)


def normalised_words(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation and English articles."""
    return _ARTICLE.sub(" ", text.lower().translate(_WITHOUT_MARKS)).split()


def answer_scores(prediction: str, answers: Sequence[str]) -> tuple[float, float]:
    """Return exact match and F1 of the answer that fits best; without answers, an empty prediction is right."""
    found = normalised_words(prediction)
    known = [words for words in map(normalised_words, answers) if words] or [[]]
    return float(found in known), max(_f1(found, words) for words in known)


def _f1(found: Sequence[str], known: Sequence[str]) -> float:
    if not found or not known:
        return float(found == known)
    common = (Counter(found) & Counter(known)).total()
    return 2 * common / (len(found) + len(known))
