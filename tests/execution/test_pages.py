"""Pages of texts as image files."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image, ImageColor

from stoker.execution.pages import CELL, COLOURS, COLUMNS, FRAMED_LINE, LABEL, LINES, draw_page
from stoker.execution.pictures import GAP, LINE, RED
from stoker.tasks.sheet import Alignment, Highlight, Marked, Page


def test_an_alignment_is_drawn_below_the_texts():
    weights = np.eye(3, 5, dtype=np.float32)
    aligned = Page("written", ("one\ntwo",), (Alignment(("a", "b", "end"), tuple("abcde"), weights),))
    pixels = pixels_of(aligned)
    without = np.asarray(Image.open(io.BytesIO(draw_page(Page("written", ("one\ntwo",))))))
    assert np.array_equal(pixels[: len(without), : without.shape[1]], without)
    grid = pixels[len(pixels) - GAP - 3 * CELL :, GAP + LABEL :]
    centres = grid[CELL // 2 :: CELL, CELL // 2 :: CELL][:3, :5, 0]
    assert (centres == 255 * (1 - weights)).all()


def lines_of(page: Page) -> list[int]:
    """Return the rows of pixels of each text on a page, between its rules."""
    pixels = np.asarray(Image.open(io.BytesIO(draw_page(page))).convert("L"))
    rules = [-1, *np.flatnonzero((pixels == 211).all(axis=1)).tolist(), len(pixels)]
    return [below - above - 1 for above, below in itertools.pairwise(rules)]


def test_a_page_has_a_line_between_two_texts():
    short, long = lines_of(Page("generated", ("one", "one\ntwo\nthree")))
    assert long - short == pytest.approx(2 * LINE, abs=1)


def test_long_lines_of_a_page_are_wrapped_and_long_texts_are_cut():
    (one,), (wrapped,), (cut,) = (
        lines_of(Page("generated", (text,))) for text in ("word", "word " * 30, "line\n" * (3 * LINES))
    )
    assert wrapped - one == LINE
    assert cut - one == (LINES - 1) * LINE


@pytest.mark.parametrize("text", ["", "\0\t\x1b[31m", "日本 ☃ \U0001f600", "Größe"])
def test_a_page_takes_every_character(text: str):
    assert lines_of(Page("generated", (text,)))[0] > 0


def pixels_of(page: Page) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(draw_page(page))))


def of_colour(pixels: np.ndarray, colour: str) -> np.ndarray:
    """Return where the pixels have a colour, as (rows, columns)."""
    return np.argwhere((pixels == ImageColor.getrgb(colour)).all(axis=2))


def entity(text: str, kind: str, wrong: bool = False) -> Page:
    marked = Marked.of([("Über", None), (f"{text} {kind}", Highlight(0, 0, kind, wrong)), ("spricht", None)])
    return Page.of("tagged", [marked], ("LOC", "PER"), "")


def test_a_highlighted_part_has_the_colour_of_its_kind_and_its_label():
    pixels = pixels_of(entity("Jürgen Groß", "PER"))
    without = pixels_of(Page("tagged", entity("Jürgen Groß", "PER").texts))
    background, label = COLOURS[1]
    behind, labelled = of_colour(pixels, background), of_colour(pixels, label)
    assert len(of_colour(without, background)) == 0
    assert GAP - 1 <= behind[:, 0].min() <= behind[:, 0].max() < GAP + FRAMED_LINE
    width = 7.22  # of a character
    assert behind[:, 1].min() == pytest.approx(GAP + 5 * width, abs=2)
    assert labelled[:, 1].min() == pytest.approx(GAP + 18 * width, abs=3)
    assert labelled[:, 1].max() == pytest.approx(GAP + 21 * width, abs=3)
    assert len(of_colour(pixels, COLOURS[0][0])) == 0
    assert len(of_colour(pixels, RED)) == 0


def test_what_is_wrong_is_framed():
    red = of_colour(pixels_of(entity("Rom", "LOC", wrong=True)), RED)
    assert red[:, 0].max() - red[:, 0].min() == LINE + 3
    assert red[:, 1].max() - red[:, 1].min() == pytest.approx(9 * 7.22, abs=2)


def test_a_part_that_is_wrapped_is_highlighted_in_both_lines():
    long = Marked.of([("x" * (COLUMNS - 10), None), ("word " * 4 + "PER", Highlight(0, 0, "PER")), ("y", None)])
    rows = of_colour(pixels_of(Page.of("tagged", [long], ("PER",), "")), COLOURS[0][0])[:, 0]
    assert {(row + 1 - GAP) // FRAMED_LINE for row in rows.tolist()} == {0, 1}


def test_a_note_stands_below_all_texts():
    plain, noted = (pixels_of(Page("tagged", ("one", "two"), note=note)) for note in ("", "what it means"))
    assert np.array_equal(noted[: len(plain)], plain)
    assert (noted[len(plain) :] < 128).any()


def test_each_alignment_stands_below_its_own_text():
    grid = Alignment(("a",), ("b", "c", "d"), np.array([[0.5, 0.2, 0.35]]))
    none, one, both = (pixels_of(Page("attention", ("one", "two"), (grid,) * count)) for count in range(3))
    height = len(one) - len(none)
    assert len(both) - len(one) == height > 2 * GAP + CELL
    cells = one[2 * GAP + LINE + height - GAP - CELL // 2, GAP + LABEL + CELL // 2 :: CELL][:3, 0]
    assert cells.tolist() == [0, 255, 127]  # the largest weight is black, the smallest white
