"""Scenes of two coloured shapes with a sentence that says which they are, and how they stand."""

from functools import lru_cache
from itertools import count, islice

import numpy as np
import pandas as pd

from stoker.datasets.records import Records
from stoker.datasets.sources.scenes import Scene, draw_scene
from stoker.job.builtin import BUILTIN
from stoker.job.formats import CAPTION_COLUMNS

SCENES, SIDE, SEED = 6000, 48, 11
CLEARLY = 1.25
"""How many times farther apart two shapes are in one direction than in the other: nobody has to guess."""


@lru_cache(maxsize=1)  # drawing takes seconds, and a process may read the data several times
def captions(scenes: int = SCENES) -> Records:
    """Return so many scenes with captions such as `a red circle left of a blue square`."""
    dice = np.random.default_rng(SEED)
    drawn = list(islice(filter(is_clear, (draw_scene(dice, SIDE, 2) for _ in count())), scenes))
    image, caption = CAPTION_COLUMNS
    assert caption == BUILTIN["shapes-captions"].label
    texts = pd.Series([sentence(scene) for scene in drawn], dtype=object)
    names = tuple(f"shapes-captions[{number}]" for number in range(scenes))
    return Records({image: np.stack([scene.pixels for scene in drawn]), caption: texts}, caption, None, names)


def is_clear(scene: Scene) -> bool:
    """Return whether two shapes stand clearly beside, or clearly above each other."""
    right, down = (abs(b - a) for a, b in zip(*(each.centre for each in scene.objects), strict=True))
    return bool(max(right, down) > CLEARLY * min(right, down))


def sentence(scene: Scene) -> str:
    """Return what stands left of what, or above it: whichever is farther apart."""
    one, other = scene.objects
    right, down = (b - a for a, b in zip(one.centre, other.centre, strict=True))
    if abs(right) >= abs(down):
        first, second = (one, other) if right > 0 else (other, one)
        return f"a {first.colour} {first.shape} left of a {second.colour} {second.shape}"
    first, second = (one, other) if down > 0 else (other, one)
    return f"a {first.colour} {first.shape} above a {second.colour} {second.shape}"
