"""Exact match and F1 of answers, against a direct transcription of SQuAD's public definition."""

import re
import string
from collections import Counter

import numpy as np
import pytest

from stoker.tasks.reading.answer_scores import answer_scores


def normalised(text: str) -> str:
    text = "".join(each for each in text.lower() if each not in set(string.punctuation))
    return " ".join(re.sub(re.compile(r"\b(a|an|the)\b", re.UNICODE), " ", text).split())


def defined_f1(prediction: str, answer: str) -> float:
    found, known = normalised(prediction).split(), normalised(answer).split()
    same = sum((Counter(found) & Counter(known)).values())
    if not found or not known:
        return int(found == known)
    if same == 0:
        return 0
    precision, recall = same / len(found), same / len(known)
    return 2 * precision * recall / (precision + recall)


def test_scores_are_those_of_the_definition_for_random_answers():
    rng = np.random.default_rng(0)
    pieces = [
        "the ",
        "The",
        " a",
        "an ",
        "cat",
        " cat's",
        "-cat",
        "dog, ",
        " dog",
        "1,000",
        " ",
        "!",
        "thesis ",
        "É",
        "\n",
    ]
    for _ in range(2000):
        prediction, *answers = ("".join(rng.choice(pieces, rng.integers(0, 6))) for _ in range(rng.integers(2, 5)))
        known = [answer for answer in answers if normalised(answer)] or [""]
        expected = (
            max(float(normalised(prediction) == normalised(answer)) for answer in known),
            max(defined_f1(prediction, answer) for answer in known),
        )
        assert answer_scores(prediction, answers) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("prediction", "answers", "scores"),
    [
        ("The Eiffel Tower!", ["eiffel tower"], (1.0, 1.0)),
        ("tower", ["Paris", "the Eiffel Tower"], (0.0, 2 / 3)),
        ("", [], (1.0, 1.0)),
        ("Paris", [], (0.0, 0.0)),
        ("", ["Paris"], (0.0, 0.0)),
        ("the", ["Paris"], (0.0, 0.0)),
    ],
)
def test_the_best_of_several_answers_counts(prediction: str, answers: list[str], scores: tuple[float, float]):
    assert answer_scores(prediction, answers) == pytest.approx(scores)
