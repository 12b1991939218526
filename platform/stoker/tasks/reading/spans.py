"""Entities marked by the tags of words: IOB as seqeval reads it by default, and how they are written for people."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from stoker.datasets.fields.texts.word_tags import OUTSIDE
from stoker.tasks.sheet import Highlight, Marked

UNTYPED = "_"
"""The type of tags such as B, which name none."""


@dataclass(frozen=True, order=True)
class Span:
    """An entity of a sentence."""

    begin: int
    """Its first word, counted from 0."""
    end: int
    """The first word behind it."""
    type: str


def spans(tags: Sequence[str]) -> list[Span]:
    """Return the entities of a sentence in order.

    Tags need not be valid: an I- that follows O, or an entity of another type, begins an entity as B- does, which also
    reads IOB1; E- and S- end one.
    """
    return [Span(first, last + 1, kind) for kind, first, last in _seqeval()(list(tags))]


@cache
def _seqeval() -> Any:
    from seqeval.metrics.sequence_labeling import get_entities  # a second to import

    return get_entities


def iob2(entities: Iterable[Span], words: int) -> list[str]:
    """Return the valid tags of entities: B- for the first word of each, I- for the others, O outside."""
    tags = [OUTSIDE] * words
    for each in entities:
        kind = "" if each.type == UNTYPED else f"-{each.type}"
        tags[each.begin : each.end] = [f"B{kind}", *[f"I{kind}"] * (each.end - each.begin - 1)]
    return tags


def marked(words: Sequence[str], entities: Iterable[Span], right: Container[Span] | None = None) -> Marked:
    """Return a sentence in which each entity is in brackets with its type, such as `[Angela Merkel PER] spoke`.

    Args:
        words: of the sentence.
        entities: of it.
        right: those that are not wrong; None: all are right.

    """
    parts: list[tuple[str, Highlight | None]] = []
    place = 0
    for each in sorted(entities):
        kind = "" if each.type == UNTYPED else each.type
        text = " ".join([*words[each.begin : each.end], *([kind] if kind else [])])
        wrong = right is not None and each not in right
        parts += [*((word, None) for word in words[place : each.begin]), (text, Highlight(0, 0, kind, wrong))]
        place = each.end
    return Marked.of([*parts, *((word, None) for word in words[place:])])


def with_tags(words: Sequence[str], tags: Sequence[str], right: Sequence[str] | None = None) -> Marked:
    """Return a sentence with the tag behind each word, such as `dogs/NOUN bark/VERB`; wrong ones are in brackets.

    Args:
        words: of the sentence.
        tags: of its words.
        right: tags to compare them with; None: all are right.

    """
    parts: list[tuple[str, Highlight | None]] = []
    for word, tag, known in zip(words, tags, right or tags, strict=True):
        parts.append((f"{word}/{tag}", None if tag == known else Highlight(0, 0, tag, wrong=True)))
    return Marked.of(parts)
