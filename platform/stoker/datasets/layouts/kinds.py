"""Layouts by the kind of what is learnt; all other kinds are columns."""

from stoker.datasets.layouts.blanks import Blanks
from stoker.datasets.layouts.columns import Columns
from stoker.datasets.layouts.continuation import Continuation
from stoker.datasets.layouts.dialogues import Dialogues
from stoker.datasets.layouts.layout import Layout, Own
from stoker.datasets.layouts.pairs import Pairs
from stoker.datasets.layouts.questions import Questions
from stoker.datasets.layouts.tagged_words import TaggedWords
from stoker.job.task import Kind

LAYOUTS: dict[Kind, type[Layout]] = {
    "continuation": Continuation,
    "blanks": Blanks,
    "text": Pairs,
    "answer": Questions,
    "replies": Dialogues,
    "word-tags": TaggedWords,
}
BY_OWN: dict[str, type[Layout]] = {each.learns.__name__: each for each in LAYOUTS.values() if each.learns}
"""Layouts that learn of a text itself, by the name of what they learn."""


def layout_class(target: Kind | None, own: Own | None) -> type[Layout]:
    """Return the layout of fields with a target of some kind, with something learnt of a text itself, or neither."""
    if own:
        return BY_OWN[type(own).__name__]
    return LAYOUTS.get(target, Columns) if target else Columns
