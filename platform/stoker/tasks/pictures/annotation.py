"""Answers drawn into the picture that they are of."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SMALL = 128
"""Pixels of the shorter side that a small picture is enlarged to, by an integer factor."""
LINE, GAP = 14, 4
"""Pixels of a line of text, and around it."""
STRENGTH = 0.45
"""Share of the colour where a picture is coloured."""
STRONGEST = 0.8
"""Share of the colour where a picture is hottest."""
COLOURS = (
    (230, 25, 75), (60, 180, 75), (0, 130, 200), (255, 225, 25), (245, 130, 48), (145, 30, 180), (70, 240, 240),
    (240, 50, 230),
)  # fmt: skip
"""Of classes; with more classes they come again."""
Box = tuple[str, int, float, float, float, float]
"""A text, the number of a class from 0, and left, top, right and bottom as shares of the picture's sides."""


def captioned(picture: np.ndarray, text: str) -> np.ndarray:
    """Return a picture (height, width, channels) uint8 with lines of text below it, (height, width, 3) uint8."""
    image = Image.fromarray(enlarged(in_colour(picture)))
    font = ImageFont.load_default(size=11)
    lines = [part for line in text.splitlines() for part in _wrapped(line, font, image.width - 2 * GAP)]
    canvas = Image.new("RGB", (image.width, image.height + len(lines) * LINE + GAP), "white")
    canvas.paste(image)
    pen = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        pen.text((GAP, image.height + number * LINE), line, "black", font)
    return np.asarray(canvas)


def coloured(picture: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return a picture with the colour of the class of each pixel over it; class 0 has none.

    Args:
        picture: (height, width, channels) uint8.
        places: (any height, any width) class numbers.

    """
    plain = in_colour(picture)
    fitted = Image.fromarray(places.astype(np.uint8)).resize((plain.shape[1], plain.shape[0]), Image.Resampling.NEAREST)
    numbers = np.asarray(fitted)
    colours = np.array(COLOURS, np.float32)[(numbers.astype(int) - 1) % len(COLOURS)]
    share = np.where(numbers[..., None] > 0, STRENGTH, 0.0)
    return enlarged((plain * (1 - share) + colours * share).astype(np.uint8))


def heated(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return a picture with red over it, the more the hotter.

    Args:
        picture: (height, width, channels) uint8.
        heat: (any height, any width) uint8.

    """
    plain = in_colour(picture)
    fitted = np.asarray(Image.fromarray(heat).resize((plain.shape[1], plain.shape[0])), np.float32)
    share = fitted[..., None] / 255 * STRONGEST
    return enlarged((plain * (1 - share) + np.array(COLOURS[0], np.float32) * share).astype(np.uint8))


def in_colour(picture: np.ndarray) -> np.ndarray:
    """Return a grey or coloured picture as (height, width, 3) uint8."""
    return np.ascontiguousarray(np.broadcast_to(picture, (*picture.shape[:2], 3)))


def enlarged(picture: np.ndarray) -> np.ndarray:
    """Return a picture large enough to be seen."""
    factor = max(1, SMALL // min(picture.shape[:2]))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def _wrapped(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """Cut a line between words where it is wider than a picture."""
    lines = [""]
    for word in line.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def boxed(picture: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
    """Return a picture with boxes, each in the colour of its class and with its text above it.

    Args:
        picture: (height, width, channels) uint8.
        boxes: to draw, the first one on top.

    """
    image = Image.fromarray(enlarged(in_colour(picture)))
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=11)
    thick = max(1, min(image.size) // 200)
    for text, number, left, top, right, bottom in reversed(boxes):
        colour = COLOURS[number % len(COLOURS)]
        x, y = left * image.width, top * image.height
        pen.rectangle((x, y, max(right * image.width - 1, x), max(bottom * image.height - 1, y)), None, colour, thick)
        if text:
            above = max(y - LINE, 0)
            pen.rectangle((x, above, x + font.getlength(text) + GAP, above + LINE), colour)
            pen.text((x + GAP / 2, above), text, "black", font)
    return np.asarray(image)
