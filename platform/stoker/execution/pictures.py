"""A sheet of pictures, or a page of texts, as one PNG file; drawn in milliseconds, since training waits for it."""

import io
import textwrap
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stoker.tasks.sheet import Alignment, Page, Picture, Sheet

SMALL, LARGE = 64, 128
"""Images are enlarged by an integer factor up to SMALL pixels, or reduced to LARGE pixels."""
MAX_CAPTION = 160
"""Pixels of a line of a caption, unless its picture is wider."""
LINE, GAP, SEAM = 14, 6, 2
"""Pixels of a line of text, between two pictures, and between the images of one."""
BLACK, RED = "black", "firebrick"
PAGE_COLUMNS, PAGE_LINES = 96, 60
"""Characters of a line of a page, and most lines of one."""
GREY = "lightgrey"
CELL, LABEL = 16, 90
"""Pixels of a side of a cell of an alignment, and most of a label beside it."""


@dataclass(frozen=True)
class _Layout:
    """Sizes in pixels that all cells of a sheet share."""

    image: tuple[int, int]
    """Width and height of one image."""
    width: int
    """Of a cell."""
    lines: int
    """Lines of the longest caption."""
    left: int
    """Space for the names of rows."""
    top: int
    """Space for the names of images."""

    def offset(self, number: int) -> int:
        """Return the x offset of one of the images in a cell."""
        return number * (self.image[0] + SEAM)

    def corner(self, column: int, row: int) -> tuple[int, int]:
        """Return the upper left corner of a cell."""
        height = self.image[1] + self.lines * LINE
        return self.left + GAP + column * (self.width + GAP), self.top + GAP + row * (height + GAP)


def draw(sheet: Sheet) -> bytes:
    """Draw a sheet of at least one picture; return a PNG file."""
    font = ImageFont.load_default(size=11)
    layout = _layout(sheet, font)
    rows = -(-len(sheet.pictures) // sheet.columns)
    used = min(sheet.columns, len(sheet.pictures))
    canvas = Image.new("RGB", layout.corner(used, rows), "white")
    pen = ImageDraw.Draw(canvas)
    pen.font = font
    for place, picture in enumerate(sheet.pictures):
        row, column = divmod(place, sheet.columns)
        corner = layout.corner(column, row)
        _draw_cell(canvas, pen, picture, layout, corner)
        if row == 0:
            for number, name in enumerate(sheet.images):
                pen.text((corner[0] + layout.offset(number), GAP), name, BLACK)
        if column == 0 and sheet.rows:
            pen.text((GAP, corner[1] + layout.image[1] // 2), sheet.rows[row], BLACK, anchor="lm")
    file = io.BytesIO()
    canvas.save(file, "PNG")
    return file.getvalue()


def draw_page(page: Page) -> bytes:
    """Draw texts one below the other, with a line between two, and an alignment below them; return a PNG file."""
    font = ImageFont.truetype(_monospaced(), 12)
    texts = [_wrapped(text) for text in page.texts]
    height = sum(len(lines) * LINE + 2 * GAP for lines in texts)
    width = 2 * GAP + int(font.getlength("m" * PAGE_COLUMNS)) + 1
    grid = _drawn_alignment(page.alignment, font) if page.alignment else None
    size = (width, height) if grid is None else (max(width, grid.width), height + grid.height)
    canvas = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(canvas)
    top = 0
    for number, lines in enumerate(texts):
        if number:
            pen.line((0, top, canvas.width, top), GREY)
        for place, line in enumerate(lines):
            pen.text((GAP, top + GAP + place * LINE), line, BLACK, font)
        top += len(lines) * LINE + 2 * GAP
    if grid is not None:
        canvas.paste(grid, (0, top))
    file = io.BytesIO()
    canvas.save(file, "PNG")
    return file.getvalue()


def _drawn_alignment(alignment: Alignment, font: ImageFont.FreeTypeFont) -> Image.Image:
    """Draw a grid with the tokens of both texts beside it: the darker a cell, the more one comes of the other."""
    rows, columns = alignment.weights.shape
    corner = GAP + LABEL
    canvas = Image.new("RGB", (corner + columns * CELL + GAP, corner + rows * CELL + GAP), "white")
    pen = ImageDraw.Draw(canvas)
    pen.font = font
    for row, token in enumerate(alignment.rows):
        pen.text(
            (corner - GAP, corner + row * CELL + CELL // 2), _shortened(token, pen, LABEL - GAP), BLACK, anchor="rm"
        )
    names = Image.new("RGB", (LABEL, columns * CELL), "white")
    upright = ImageDraw.Draw(names)
    upright.font = font
    for column, token in enumerate(alignment.columns):
        upright.text((GAP, column * CELL + CELL // 2), _shortened(token, upright, LABEL - GAP), BLACK, anchor="lm")
    canvas.paste(names.rotate(90, expand=True), (corner, GAP))
    shades = Image.fromarray((255 * (1 - alignment.weights)).astype(np.uint8))
    canvas.paste(shades.resize((columns * CELL, rows * CELL), Image.Resampling.NEAREST), (corner, corner))
    return canvas


def _wrapped(text: str) -> list[str]:
    """Return the lines of a text, at most so many."""
    plain = "".join(each if each == "\n" or each.isprintable() else " " for each in text.expandtabs(4))
    lines = [
        part for line in plain.split("\n") for part in textwrap.wrap(line, PAGE_COLUMNS, drop_whitespace=False) or [""]
    ]
    return [*lines[: PAGE_LINES - 1], "..."] if len(lines) > PAGE_LINES else lines


def _monospaced() -> str:
    """Return the path of a font that has most alphabets, which comes with matplotlib."""
    from matplotlib import get_data_path

    return f"{get_data_path()}/fonts/ttf/DejaVuSansMono.ttf"


def _layout(sheet: Sheet, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> _Layout:
    height, width = sheet.pictures[0].images[0].shape[:2]
    side = max(height, width)
    scale = SMALL // side if side < SMALL else min(1.0, LARGE / side)
    image = max(1, round(width * scale)), max(1, round(height * scale))
    captions = [line for picture in sheet.pictures for line in picture.caption.splitlines()]
    longest = max((font.getlength(line) for line in captions), default=0.0)
    return _Layout(
        image,
        max((image[0] + SEAM) * len(sheet.pictures[0].images) - SEAM, int(min(longest, MAX_CAPTION)) + 1),
        max(len(picture.caption.splitlines()) for picture in sheet.pictures),
        int(max((font.getlength(name) for name in sheet.rows), default=-GAP)) + GAP,
        LINE if sheet.images else 0,
    )


def _draw_cell(
    canvas: Image.Image, pen: ImageDraw.ImageDraw, picture: Picture, layout: _Layout, corner: tuple[int, int]
) -> None:
    left, top = corner
    enlarged = layout.image[0] >= picture.images[0].shape[1]
    for number, pixels in enumerate(picture.images):
        resample = Image.Resampling.NEAREST if enlarged else Image.Resampling.BOX
        canvas.paste(_image(pixels).resize(layout.image, resample), (left + layout.offset(number), top))
    for number, line in enumerate(picture.caption.splitlines()):
        place = (left, top + layout.image[1] + number * LINE)
        pen.text(place, _shortened(line, pen, layout.width), RED if picture.wrong else BLACK)


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _shortened(line: str, pen: ImageDraw.ImageDraw, width: int) -> str:
    """Cut a line that is too long in its middle: names differ at their ends."""
    if pen.textlength(line) <= width:
        return line
    half = len(line) // 2
    while half > 1 and pen.textlength(f"{line[:half]}...{line[-half:]}") > width:
        half -= 1
    return f"{line[:half]}...{line[-half:]}"
