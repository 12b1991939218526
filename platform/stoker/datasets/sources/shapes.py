"""The built-in pictures of coloured shapes, each with the shapes in it, drawn once and for all by a seed."""

import numpy as np
import pandas as pd

from stoker.datasets.records import Records
from stoker.datasets.sources.scenes import MOST_OBJECTS, draw_scene

PICTURES = 2_000
SIDE = 64


def shapes() -> Records:
    """Return the pictures with the kinds of shapes in each."""
    dice = np.random.default_rng(0)
    scenes = [draw_scene(dice, SIDE, int(dice.integers(1, MOST_OBJECTS + 1))) for _ in range(PICTURES)]
    tags = [";".join(sorted({each.shape for each in scene.objects})) for scene in scenes]
    names = tuple(f"shapes[{number}]" for number in range(PICTURES))
    pixels = np.stack([scene.pixels for scene in scenes])
    return Records({"image": pixels, "shapes": pd.Series(tags, dtype=object)}, "shapes", None, names)
