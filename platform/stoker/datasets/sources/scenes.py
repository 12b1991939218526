"""Draws scenes of coloured shapes, and returns the objects in them: the ground truth of built-in picture datasets."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

SHAPES = ("circle", "cross", "square", "star", "triangle")
COLOURS = {
    "red": (214, 48, 49),
    "green": (39, 174, 96),
    "blue": (41, 98, 255),
    "yellow": (241, 196, 15),
    "purple": (142, 68, 173),
    "white": (245, 245, 245),
}
"""Colours of the objects; backgrounds are dark greys."""
MOST_OBJECTS = 4
SMALLEST, LARGEST = 0.11, 0.19
"""Radius of an object, as a share of the side of the picture."""
TURN = 0.35
"""Largest turn of an object to either side, in radians."""
BACKGROUND = (40, 110)
"""Darkest and lightest grey of a background."""
GRAIN = 6.0
"""Deviation of the noise on every value of a picture."""
FINER = 4
"""Objects are drawn this many times larger, for smooth edges."""
TRIES = 50
"""Places tried for an object before the scene is begun again."""
STAR = tuple((math.tau * corner / 10, 1.0 if corner % 2 == 0 else 0.45) for corner in range(10))
CROSS = ((0.35, 1), (0.35, 0.35), (1, 0.35), (1, -0.35), (0.35, -0.35), (0.35, -1))
"""Half of a cross; the other half is opposite."""


@dataclass(frozen=True)
class SceneObject:
    """One shape of a scene."""

    shape: str
    colour: str
    box: tuple[int, int, int, int]
    """Left, top, right and bottom in pixels; right and bottom are the first ones outside."""
    mask: np.ndarray
    """(height, width) bool: the pixels of the object."""

    @property
    def centre(self) -> tuple[float, float]:
        """Return the middle of the box, from the left and from the top."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2


@dataclass(frozen=True)
class Scene:
    """A picture and the objects in it."""

    pixels: np.ndarray
    """(side, side, 3) uint8."""
    objects: tuple[SceneObject, ...]
    """In the order in which they were placed; no two boxes overlap."""


def draw_scene(dice: np.random.Generator, side: int, objects: int) -> Scene:
    """Draw a square picture with so many objects of random shape, colour, size and place.

    Args:
        dice: what is drawn with; the same state gives the same scene.
        side: of the picture in pixels, 32 or more.
        objects: at most MOST_OBJECTS, which always find a place.

    """
    assert 1 <= objects <= MOST_OBJECTS
    placed = _places(dice, side, objects)
    picture = np.full((side, side, 3), dice.uniform(*BACKGROUND))
    drawn = []
    for x, y, radius in placed:
        shape, colour = str(dice.choice(SHAPES)), str(dice.choice(list(COLOURS)))
        cover = _cover(shape, x, y, radius, dice.uniform(-TURN, TURN), side)
        picture += cover[..., None] * (np.array(COLOURS[colour]) - picture)
        mask = cover >= 0.5
        drawn.append(SceneObject(shape, colour, _box(mask), mask))
    picture += dice.normal(0, GRAIN, picture.shape)
    return Scene(picture.round().clip(0, 255).astype(np.uint8), tuple(drawn))


def _places(dice: np.random.Generator, side: int, objects: int) -> list[tuple[float, float, float]]:
    """Return centre and radius of objects that lie inside of the picture and apart from each other."""
    placed: list[tuple[float, float, float]] = []
    tries = 0
    while len(placed) < objects:
        radius = dice.uniform(SMALLEST, LARGEST) * side
        x, y = dice.uniform(radius + 1, side - radius - 1, 2)
        if all(max(abs(x - left), abs(y - top)) > radius + other + 1 for left, top, other in placed):
            placed.append((x, y, radius))
        tries += 1
        if tries % TRIES == 0:
            placed.clear()
    return placed


def _cover(shape: str, x: float, y: float, radius: float, turn: float, side: int) -> np.ndarray:
    """Return (side, side) shares from 0 to 1 of each pixel that a shape covers."""
    canvas = Image.new("L", (side * FINER, side * FINER))
    outline = [(FINER * (x + radius * right), FINER * (y + radius * down)) for right, down in _outline(shape, turn)]
    ImageDraw.Draw(canvas).polygon(outline, fill=255)
    return np.asarray(canvas.resize((side, side), Image.Resampling.BOX), np.float64) / 255


def _outline(shape: str, turn: float) -> list[tuple[float, float]]:
    """Return the corners of a turned shape within the unit circle."""
    corners = {
        "circle": [(math.cos(math.tau * step / 48), math.sin(math.tau * step / 48)) for step in range(48)],
        "square": [(math.cos(angle), math.sin(angle)) for angle in (math.pi * (0.25 + step / 2) for step in range(4))],
        "triangle": [(math.sin(angle), -math.cos(angle)) for angle in (math.tau * step / 3 for step in range(3))],
        "star": [(size * math.sin(angle), -size * math.cos(angle)) for angle, size in STAR],
        "cross": [(sign * right * 0.94, sign * down * 0.94) for sign in (1, -1) for right, down in CROSS],
    }[shape]
    cos, sin = math.cos(turn), math.sin(turn)
    return [(right * cos - down * sin, right * sin + down * cos) for right, down in corners]


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Return the box around the pixels of a mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
