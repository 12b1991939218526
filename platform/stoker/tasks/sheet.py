"""Sheets of pictures and pages of texts: what a network makes of some samples, as people see it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stoker.datasets.tokens.tokenizer import END, Tokenizer

IMAGES_A_ROW = 8


@dataclass(frozen=True)
class Picture:
    """One sample."""

    images: tuple[np.ndarray, ...]
    """(height, width, channels) uint8 of one size, drawn side by side."""
    caption: str = ""
    """One or more lines below them."""
    wrong: bool = False
    """Whether the caption is highlighted."""


@dataclass(frozen=True)
class Sheet:
    """Pictures in rows from left to right; a row is full with IMAGES_A_ROW images, or as many pictures as have them."""

    name: str
    """What they show, in a word: part of the file's name."""
    pictures: tuple[Picture, ...]
    rows: tuple[str, ...] = ()
    """Name of each row; empty where rows mean nothing."""
    images: tuple[str, ...] = ()
    """Name of each image of a picture; empty where they need none."""

    @property
    def columns(self) -> int:
        """Pictures of a row."""
        return max(1, IMAGES_A_ROW // len(self.pictures[0].images))


@dataclass(frozen=True)
class Alignment:
    """How much each row, such as a token of one text, comes of each token of another, or of the same text."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    weights: np.ndarray
    """(rows, columns) from 0 to 1."""


@dataclass(frozen=True)
class Highlight:
    """A part of a text in brackets, drawn on a colour without the brackets."""

    begin: int
    """Place of the opening bracket, in characters of the text."""
    end: int
    """Place behind the closing one."""
    kind: str = ""
    """Parts of one kind have one colour; where the part ends with it, it is drawn as a label."""
    wrong: bool = False
    """Whether it is framed."""


@dataclass(frozen=True)
class Marked:
    """A text with highlighted parts."""

    text: str
    highlights: tuple[Highlight, ...] = ()

    @staticmethod
    def of(parts: Iterable[tuple[str, Highlight | None]], between: str = " ") -> "Marked":
        """Join parts of a text; those with a highlight, whose place does not matter, are put in brackets."""
        pieces: list[str] = []
        found: list[Highlight] = []
        place = 0
        for text, highlight in parts:
            piece = text if highlight is None else f"[{text}]"
            place += len(between) if pieces else 0
            if highlight is not None:
                found.append(replace(highlight, begin=place, end=place + len(piece)))
            pieces.append(piece)
            place += len(piece)
        return Marked(between.join(pieces), tuple(found))

    @staticmethod
    def lines(*lines: "tuple[str, Marked]") -> "Marked":
        """Join lines, each with a word in front of it."""
        text, found = "", []
        for number, (before, line) in enumerate(lines):
            text += ("\n" if number else "") + before
            found += [replace(each, begin=each.begin + len(text), end=each.end + len(text)) for each in line.highlights]
            text += line.text
        return Marked(text, tuple(found))


@dataclass(frozen=True)
class Page:
    """Some texts, one below the other."""

    name: str
    """What they are, in a word: part of the file's name."""
    texts: tuple[str, ...]
    alignments: tuple[Alignment, ...] = ()
    """Of the first texts, each drawn below its own."""
    highlights: tuple[tuple[Highlight, ...], ...] = ()
    """Of each text; empty where there are none."""
    kinds: tuple[str, ...] = ()
    """All kinds of highlights there may be, in the order of their colours."""
    note: str = ""
    """What the drawing means, below all texts."""

    @staticmethod
    def of(name: str, marked: Sequence[Marked], kinds: tuple[str, ...], note: str) -> "Page":
        """Return a page of texts with highlighted parts."""
        return Page(name, tuple(m.text for m in marked), (), tuple(m.highlights for m in marked), kinds, note)


def token_names(tokenizer: Tokenizer, tokens: Sequence[int]) -> tuple[str, ...]:
    """Return what each token of a text is called beside a drawing: itself, or what it is where it cannot be seen."""
    return tuple(_name(tokenizer, token) for token in tokens)


def _name(tokenizer: Tokenizer, token: int) -> str:
    if token == END:
        return "end"
    text = tokenizer.decode([token])
    return text.strip() or text.replace("\n", "newline").replace(" ", "blank") or "special"
