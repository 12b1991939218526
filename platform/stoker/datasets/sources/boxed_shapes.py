"""The built-in pictures of coloured shapes with a box around each, drawn once and for all by a seed."""

import numpy as np
import pandas as pd

from stoker.datasets.records import Records
from stoker.datasets.sources.scenes import MOST_OBJECTS, Scene, draw_scene
from stoker.datasets.values.boxes import Box, Boxed

PICTURES = 400
SIDE = 64


def boxed_shapes() -> Records:
    """Return the pictures with their boxes, whose classes are the kinds of shapes."""
    dice = np.random.default_rng(0)
    scenes = [draw_scene(dice, SIDE, int(dice.integers(1, MOST_OBJECTS + 1))) for _ in range(PICTURES)]
    boxes = [_boxed(scene).text() for scene in scenes]
    names = tuple(f"shape-boxes[{number}]" for number in range(PICTURES))
    pixels = np.stack([scene.pixels for scene in scenes])
    return Records({"image": pixels, "boxes": pd.Series(boxes, dtype=object)}, "boxes", None, names)


def _boxed(scene: Scene) -> Boxed:
    boxes = tuple(Box(each.shape, *map(float, each.box)) for each in scene.objects)
    return Boxed(SIDE, SIDE, boxes)
