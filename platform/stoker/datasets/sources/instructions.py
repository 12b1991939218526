"""The built-in dialogues: small tasks, each with its answer, which are drawn once and for all by a seed."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from stoker.datasets.dialogues.messages import Message, as_cell
from stoker.datasets.records import Records, table

DIALOGUES = 2_000
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
OPPOSITES = (
    ("hot", "cold"), ("big", "small"), ("old", "new"), ("wet", "dry"), ("fast", "slow"), ("high", "low"),
    ("full", "empty"), ("open", "closed"), ("near", "far"), ("soft", "hard"), ("light", "dark"), ("rich", "poor"),
)  # fmt: skip
KINDS = {
    "animal": ("cat", "dog", "horse", "bird", "fish", "cow"),
    "colour": ("red", "blue", "green", "white", "black", "yellow"),
    "fruit": ("apple", "pear", "plum", "cherry", "grape", "lemon"),
    "tool": ("hammer", "saw", "knife", "spade", "drill", "rake"),
}
WORDS = tuple(word for words in KINDS.values() for word in words)
PLACES = ("first", "second", "third", "last")
LETTERS = "abcdefghijklmnoprstuw"
NAMES = ("Ann", "Bob", "Cem", "Dora", "Eve", "Finn", "Gita", "Hugo", "Ida", "Jan")
SYSTEM = {"Answer in one word.": "{}", "Answer in a sentence.": "The answer is {}."}
"""What the system may ask for, and how answers are written then."""


@dataclass(frozen=True)
class Exchange:
    """A question and its answer."""

    question: str
    answer: str


def instructions() -> Records:
    """Return different dialogues of one to three exchanges, a third of them with a message of the system."""
    dice = random.Random(0)  # noqa: S311  # data, no secrets
    found: dict[str, None] = {}
    while len(found) < DIALOGUES:
        found[_dialogue(dice)] = None
    return table(pd.DataFrame({"messages": pd.Series(list(found), dtype=object)}))


def _dialogue(dice: random.Random) -> str:
    """Return a dialogue as a cell."""
    system = dice.choice(tuple(SYSTEM)) if dice.random() < 1 / 3 else ""
    form = SYSTEM[system] if system else "{}"
    messages = [Message("system", system)] if system else []
    if dice.random() < 1 / 5:
        exchanges = _remembered(dice, form)
    else:
        exchanges = [_task(dice, form) for _ in range(dice.choices((1, 2, 3), (5, 3, 2))[0])]
    for each in exchanges:
        messages += [Message("user", each.question), Message("assistant", each.answer)]
    return as_cell(tuple(messages))


def _task(dice: random.Random, form: str) -> Exchange:
    question, answer = dice.choice(TASKS)(dice)
    return Exchange(question, form.format(answer))


def _remembered(dice: random.Random, form: str) -> list[Exchange]:
    """Return a dialogue whose last question is about its first message, with none or one between them."""
    between = [_task(dice, form) for _ in range(dice.randint(0, 1))]
    if dice.random() < 1 / 2:
        name = dice.choice(NAMES)
        told = Exchange(dice.choice((f"My name is {name}.", f"I am {name}.")), f"Hello {name}!")
        return [told, *between, Exchange("What is my name?", form.format(name))]
    word = dice.choice(WORDS)
    told = Exchange(
        dice.choice((f"Remember the word {word}.", f"Keep the word {word} in mind.")), "I will remember it."
    )
    return [told, *between, Exchange("Which word was it?", form.format(word))]


def _sum(dice: random.Random) -> tuple[str, str]:
    one, other = dice.randint(0, 9), dice.randint(0, 9)
    return dice.choice(("What is {} + {}?", "Add {} and {}.")).format(one, other), str(one + other)


def _larger(dice: random.Random) -> tuple[str, str]:
    one, other = dice.sample(range(10), 2)
    return dice.choice(("Which is larger, {} or {}?", "Name the larger of {} and {}.")).format(one, other), str(
        max(one, other)
    )


def _following(dice: random.Random) -> tuple[str, str]:
    names, unit = dice.choice(((DAYS, "day"), (MONTHS, "month")))
    place, step = dice.randrange(len(names)), dice.choice((1, -1))
    side = "after" if step > 0 else "before"
    question = dice.choice(("Name the {} {} {}.", "Which {} comes {} {}?")).format(unit, side, names[place])
    return question, names[(place + step) % len(names)]


def _opposite(dice: random.Random) -> tuple[str, str]:
    one, other = dice.sample(dice.choice(OPPOSITES), 2)
    return dice.choice(("What is the opposite of {}?", "Name the opposite of {}.")).format(one), other


def _kind(dice: random.Random) -> tuple[str, str]:
    kind = dice.choice(tuple(KINDS))
    word = dice.choice(KINDS[kind])
    return dice.choice(("What kind of thing is {}?", "Name the kind of {}.")).format(word), kind


def _place(dice: random.Random) -> tuple[str, str]:
    words, which = dice.sample(WORDS, 3), dice.choice(PLACES)
    listed = " ".join(words)
    question = dice.choice(("Repeat the {} word: {}", "Which word is {}: {}")).format(which, listed)
    return question, words[min(PLACES.index(which), 2)]


def _reversed(dice: random.Random) -> tuple[str, str]:
    letters = dice.sample(LETTERS, 3)
    question = dice.choice(("Reverse the letters {}", "Write these letters backwards: {}")).format(" ".join(letters))
    return question, " ".join(reversed(letters))


def _count(dice: random.Random) -> tuple[str, str]:
    words = dice.sample(WORDS, dice.randint(1, 5))
    return dice.choice(("How many words are these: {}", "Count the words: {}")).format(" ".join(words)), str(len(words))


TASKS: tuple[Callable[[random.Random], tuple[str, str]], ...] = (
    _sum,
    _larger,
    _following,
    _opposite,
    _kind,
    _place,
    _reversed,
    _count,
)
"""Each returns a question and its answer."""
