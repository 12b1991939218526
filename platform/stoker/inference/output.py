"""Writes predictions: a table to a file, or images to a folder."""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image as Picture

from stoker.atomic_files import replace_file
from stoker.errors import JobError, Problem
from stoker.tasks.task import Answers, Task

SUFFIXES = (".csv", ".parquet", ".jsonl")
INTERCHANGE = ".json"
TABLE = "predictions.csv"
ANNOTATED = "annotated"
SEAM = 2
"""Pixels between the images of a grid."""
FRAME_MS = 120
"""How long a film shows an image."""


def write_answers(table: pd.DataFrame, task: Task, target: Path) -> int:
    """Write a table of answers, or the JSON that other programs read; return the number of rows.

    Raises:
        JobError: the task has no such JSON.

    """
    if target.suffix != INTERCHANGE:
        listed = task.listed(table)
        write_table(listed, target)
        return len(listed)
    content = task.interchange(table)
    if content is None:
        message = f"{INTERCHANGE} is for boxes, as COCO writes them; name a file with {', '.join(SUFFIXES)}"
        raise JobError([Problem("--output", message)])
    replace_file(target, json.dumps(content).encode())
    return len(table)


def write_table(table: pd.DataFrame, target: Path) -> None:
    """Write a table atomically."""
    draft = target.with_name(f".{target.name}.draft")
    try:
        if target.suffix == ".csv":
            table.to_csv(draft, index=False)
        elif target.suffix == ".parquet":
            table.to_parquet(draft, index=False)
        else:
            table.to_json(draft, orient="records", lines=True)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def write_folder(answers: Iterable[Answers], folder: Path, task: Task) -> int:
    """Write the images of answers as PNG files named like their inputs, and the table; return the number of rows.

    Drawn samples have a folder of their own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = []
    taken: set[str] = set()
    for each in answers:
        tables.append(each.table)
        if each.images is None and not each.drawn:
            continue
        begin = sum(map(len, tables)) - len(each.table)
        inputs = each.table["input"] if "input" in each.table else range(begin, begin + len(each.table))
        names = [_free(Path(str(name)).stem, taken) for name in inputs]
        for name, pixels in zip(names, () if each.images is None else each.images, strict=False):
            write_image(folder / f"{name}.png", pixels, each.palette)
        for name, pixels in zip(names, each.drawn, strict=False):
            (folder / ANNOTATED).mkdir(exist_ok=True)
            write_image(folder / ANNOTATED / f"{name}.png", pixels)
    whole = pd.concat(tables, ignore_index=True)
    write_table(task.listed(whole), folder / TABLE)
    if (content := task.interchange(whole)) is not None:
        replace_file((folder / TABLE).with_suffix(INTERCHANGE), json.dumps(content).encode())
    return len(whole)


def write_image(path: Path, pixels: np.ndarray, palette: Sequence[int] = ()) -> None:
    """Write (height, width[, channels]) uint8 as a PNG file, whose values may be those of a palette."""
    grey = pixels.ndim == 3 and pixels.shape[2] == 1
    image = Picture.fromarray(pixels[..., 0] if grey else pixels)
    if palette:
        image.putpalette(palette)
    image.save(path)


def write_grid(path: Path, images: Sequence[np.ndarray], columns: int | None = None) -> None:
    """Write images of one size, (height, width, channels) uint8, side by side and below each other as a PNG file.

    Args:
        path: of the file.
        images: at least one.
        columns: images of a row; default: about as many as there are rows.

    """
    columns = columns or math.ceil(math.sqrt(len(images)))
    height, width, channels = images[0].shape
    rows = -(-len(images) // columns)
    grid = np.full((rows * (height + SEAM) - SEAM, columns * (width + SEAM) - SEAM, channels), 255, np.uint8)
    for number, image in enumerate(images):
        top, left = (number // columns) * (height + SEAM), (number % columns) * (width + SEAM)
        grid[top : top + height, left : left + width] = image
    write_image(path, grid)


def write_film(path: Path, images: Sequence[np.ndarray], shown_ms: int = FRAME_MS) -> None:
    """Write images of one size, (height, width, channels) uint8, one after the other as a GIF file that goes round."""
    first, *more = (Picture.fromarray(each[..., 0] if each.shape[2] == 1 else each) for each in images)
    first.save(path, save_all=True, append_images=more, duration=shown_ms, loop=0)


def _free(stem: str, taken: set[str]) -> str:
    """Return an unused name: inputs of different folders may have the same one."""
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name)
    return name
