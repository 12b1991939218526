"""A page of texts as one PNG file, with highlighted parts and alignments; drawn in milliseconds, as a sheet is."""

import io
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stoker.execution.pictures import BLACK, GAP, LINE, RED, shortened
from stoker.tasks.sheet import Alignment, Highlight, Page

FRAMED_LINE = LINE + 5
"""Pixels of a line of a text with highlighted parts, whose frames are around the letters."""
BLANK = "\N{NO-BREAK SPACE}"
COLUMNS, LINES = 96, 60
"""Characters of a line of a page, and most lines of a text."""
GREY, DARK_GREY = "lightgrey", "dimgrey"
CELL, LABEL = 16, 90
"""Pixels of a side of a cell of an alignment, and most of a label beside it."""
COLOURS = (
    ("#cfe3f7", "#1f5d99"),
    ("#d3efd4", "#27702a"),
    ("#fbe0c3", "#a35200"),
    ("#e7d9f3", "#63358f"),
    ("#fbf0ae", "#7a6a00"),
    ("#fad4e4", "#a01c59"),
    ("#cdefee", "#0b6b69"),
    ("#e3ddd3", "#5e4a2b"),
)
"""Of a kind of highlighted parts: behind the text, and behind its label. With more kinds they come again."""


@dataclass(frozen=True)
class _Line:
    """A line of a text."""

    text: str
    begin: int
    """Its place in the text."""


@dataclass(frozen=True)
class _Block:
    """A text of a page."""

    lines: list[_Line]
    highlights: tuple[Highlight, ...]
    grid: Image.Image | None
    """Its alignment."""

    @property
    def line(self) -> int:
        """Return the pixels of a line."""
        return FRAMED_LINE if self.highlights else LINE

    @property
    def text_height(self) -> int:
        """Return the pixels of its lines."""
        return len(self.lines) * self.line + 2 * GAP

    @property
    def height(self) -> int:
        """Return the pixels of all of it."""
        return self.text_height + (self.grid.height if self.grid else 0)


def draw_page(page: Page) -> bytes:
    """Draw texts one below the other, with a line between two; return a PNG file."""
    font = ImageFont.truetype(_monospaced(), 12)
    blocks = list(_blocks(page, font))
    width = 2 * GAP + int(font.getlength("m" * COLUMNS)) + 1
    width = max([width, *(block.grid.width for block in blocks if block.grid)])
    note = textwrap.wrap(page.note, COLUMNS)
    height = sum(block.height for block in blocks) + (len(note) * LINE + GAP if note else 0)
    canvas = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(canvas)
    pen.font = font
    top = 0
    for number, block in enumerate(blocks):
        if number:
            pen.line((0, top, width, top), GREY)
        for place, line in enumerate(block.lines):
            _draw_line(pen, line, block.highlights, page.kinds, top + GAP + place * block.line)
        if block.grid:
            canvas.paste(block.grid, (0, top + block.text_height))
        top += block.height
    for place, text in enumerate(note):
        pen.text((GAP, top + place * LINE), text, DARK_GREY)
    file = io.BytesIO()
    canvas.save(file, "PNG")
    return file.getvalue()


def _blocks(page: Page, font: ImageFont.FreeTypeFont) -> Iterator[_Block]:
    for number, text in enumerate(page.texts):
        highlights = page.highlights[number] if page.highlights else ()
        grid = _drawn_alignment(page.alignments[number], font) if number < len(page.alignments) else None
        yield _Block(_lines(_unbracketed(text, highlights)), highlights, grid)


def _unbracketed(text: str, highlights: Sequence[Highlight]) -> str:
    """Return a text with blanks, where no line ends, for the brackets of highlighted parts; all places stay."""
    if not highlights:
        return text.expandtabs(4)
    letters = list(text.replace("\t", " "))
    for each in highlights:
        letters[each.begin] = letters[each.end - 1] = BLANK
    return "".join(letters)


def _lines(text: str) -> list[_Line]:
    """Return the lines of a text, at most so many."""
    plain = "".join(each if each in ("\n", BLANK) or each.isprintable() else " " for each in text)
    lines: list[_Line] = []
    place = 0
    for line in plain.split("\n"):
        for part in textwrap.wrap(line, COLUMNS, drop_whitespace=False) or [""]:
            lines.append(_Line(part, place))
            place += len(part)
        place += 1
    return [*lines[: LINES - 1], _Line("...", place)] if len(lines) > LINES else lines


def _draw_line(
    pen: ImageDraw.ImageDraw, line: _Line, highlights: Sequence[Highlight], kinds: Sequence[str], top: int
) -> None:
    """Draw a line with what is highlighted in it."""
    end = line.begin + len(line.text)
    here = [each for each in highlights if each.begin < end and each.end > line.begin]

    def span(first: int, last: int) -> tuple[float, int, float, int]:
        inside = (min(max(place - line.begin, 0), len(line.text)) for place in (first, last))
        left, right = (GAP + pen.textlength(line.text[:place]) for place in inside)
        return left, top - 1, right - 1, top + LINE + 2

    for each in here:
        pen.rectangle(span(each.begin, each.end), _colours(each, kinds)[0])
    pen.text((GAP, top), line.text, BLACK)
    for each in here:
        first, last = max(each.end - 1 - len(each.kind), line.begin), min(each.end - 1, end)
        label = line.text[first - line.begin : last - line.begin]
        if label and label == each.kind:
            pen.rectangle(span(first, last), _colours(each, kinds)[1])
            pen.text((span(first, last)[0], top), label, "white")
        if each.wrong:
            pen.rectangle(span(each.begin, each.end), outline=RED, width=2)


def _colours(highlight: Highlight, kinds: Sequence[str]) -> tuple[str, str]:
    place = kinds.index(highlight.kind) if highlight.kind in kinds else 0
    return COLOURS[place % len(COLOURS)]


def _drawn_alignment(alignment: Alignment, font: ImageFont.FreeTypeFont) -> Image.Image:
    """Draw a grid with the names of rows and columns beside it: the largest weight is black, the smallest white."""
    rows, columns = alignment.weights.shape
    least, most = float(alignment.weights.min()), float(alignment.weights.max())
    shares = (alignment.weights - least) / (most - least) if most > least else np.ones((rows, columns))
    corner = GAP + LABEL
    high = min(LABEL, GAP + int(max(font.getlength(token) for token in alignment.columns)) + 1)
    canvas = Image.new("RGB", (corner + columns * CELL + GAP, GAP + high + rows * CELL + GAP), "white")
    pen = ImageDraw.Draw(canvas)
    pen.font = font
    for row, token in enumerate(alignment.rows):
        place = (corner - GAP, GAP + high + row * CELL + CELL // 2)
        pen.text(place, shortened(token, pen, LABEL - GAP), BLACK, anchor="rm")
    names = Image.new("RGB", (high, columns * CELL), "white")
    upright = ImageDraw.Draw(names)
    upright.font = font
    for column, token in enumerate(alignment.columns):
        upright.text((GAP, column * CELL + CELL // 2), shortened(token, upright, LABEL - GAP), BLACK, anchor="lm")
    canvas.paste(names.rotate(90, expand=True), (corner, GAP))
    shades = Image.fromarray((255 * (1 - shares)).astype(np.uint8))
    canvas.paste(shades.resize((columns * CELL, rows * CELL), Image.Resampling.NEAREST), (corner, GAP + high))
    return canvas


def _monospaced() -> str:
    """Return the path of a font that has most alphabets, which comes with matplotlib."""
    from matplotlib import get_data_path

    return f"{get_data_path()}/fonts/ttf/DejaVuSansMono.ttf"
