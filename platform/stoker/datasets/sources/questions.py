"""The built-in questions: who has what, each with a text that may answer it, drawn once and for all by a seed."""

import random

import pandas as pd

from stoker.datasets.records import Records, table

QUESTIONS = 1_200
PEOPLE = 3
"""People of a text."""
UNANSWERED = 0.2
"""Share of the questions whose text does not answer them."""
NAMES = ("Ann", "Bob", "Cem", "Dora", "Eva", "Finn", "Gus", "Hana", "Ivo")
THINGS = tuple(
    f"the {colour} {thing}"
    for colour in ("red", "blue", "green", "black")
    for thing in ("ball", "book", "lamp", "cup", "hat")
)


def questions() -> Records:
    """Return the questions; an answer is empty where the text has none."""
    dice = random.Random(0)  # noqa: S311  # data, not a secret
    rows = [question(dice, PEOPLE, UNANSWERED) for _ in range(QUESTIONS)]
    return table(pd.DataFrame(rows), "answer")


def question(dice: random.Random, people: int, unanswered: float = 0.0) -> dict[str, str]:
    """Return a question about who has what, or what somebody has.

    Args:
        dice: what is drawn with.
        people: of the text, who each have something else.
        unanswered: how likely the question is about somebody or something else.

    """
    names, things = dice.sample(NAMES, people + 1), dice.sample(THINGS, people + 1)
    context = " ".join(f"{name} has {thing}." for name, thing in zip(names[1:], things[1:], strict=True))
    which = 0 if dice.random() < unanswered else dice.randint(1, people)
    if dice.random() < 0.5:  # a coin
        asked, answer = f"Who has {things[which]}?", names[which]
    else:
        asked, answer = f"What has {names[which]}?", things[which]
    return {"question": asked, "context": context, "answer": answer if which else ""}
