"""How answers are written in a column."""

import json

import numpy as np
import pandas as pd
import pytest

from stoker.datasets.fields.texts.answer import Answer, located, read_answers

PLACED = [Answer("red ink", 8), Answer("ink", 12)]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("red ink", [Answer("red ink")]),
        ("", []),
        (None, []),
        (float("nan"), []),
        ("  ", []),
        ("[12]", [Answer("[12]")]),
        ("[see below", [Answer("[see below")]),
        ("{x}", [Answer("{x}")]),
        ("1999", [Answer("1999")]),
        ("[]", []),
        (json.dumps(["red ink", "ink"]), [Answer("red ink"), Answer("ink")]),
        (json.dumps([{"text": "red ink", "answer_start": 8}, {"text": "ink", "answer_start": 12}]), PLACED),
        (json.dumps({"text": ["red ink", "ink"], "answer_start": [8, 12]}), PLACED),
        ({"text": np.array(["red ink", "ink"], object), "answer_start": np.array([8, 12])}, PLACED),
        ({"text": np.array([], object), "answer_start": np.array([], int)}, []),
        (np.array(["red ink", "ink"], object), [Answer("red ink"), Answer("ink")]),
    ],
)
def test_answers_are_a_text_a_list_or_the_objects_of_squad(cell: object, expected: list[Answer]):
    assert read_answers(pd.Series([cell, "x"], dtype=object)) == [expected, [Answer("x")]]


def test_an_answer_is_where_the_column_says_or_where_it_first_occurs():
    raw = pd.Series(["ann", "ann", None], dtype=object)
    places = pd.Series([8.0, None, None])
    texts = ["ann and ann"] * 3
    assert located(raw, places, ["who?"] * 3, texts, "context") == [[(8, 11)], [(0, 3)], []]
    assert located(raw, None, ["who?"] * 3, texts, "context") == [[(0, 3)], [(0, 3)], []]
