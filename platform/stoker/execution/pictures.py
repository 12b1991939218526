"""A sheet of pictures as one PNG file; drawn in milliseconds, since training waits for it."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stoker.tasks.sheet import Picture, Sheet

SMALL, LARGE = 128, 192
"""Images are enlarged by an integer factor up to SMALL pixels, or reduced to LARGE pixels."""
MAX_CAPTION = 160
"""Pixels of a line of a caption, unless its picture is wider."""
LINE, GAP, SEAM = 14, 6, 2
"""Pixels of a line of text, between two pictures, and between the images of one."""
BLACK, RED = "black", "firebrick"


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
        pen.text(place, shortened(line, pen, layout.width), RED if picture.wrong else BLACK)


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def shortened(line: str, pen: ImageDraw.ImageDraw, width: int) -> str:
    """Cut a line that is too long in its middle: names differ at their ends."""
    if pen.textlength(line) <= width:
        return line
    half = len(line) // 2
    while half > 1 and pen.textlength(f"{line[:half]}...{line[-half:]}") > width:
        half -= 1
    return f"{line[:half]}...{line[-half:]}"
