"""Writes predictions: a table to a file, or images to a folder."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image as Picture

from stoker.tasks.task import Answers

SUFFIXES = (".csv", ".parquet", ".jsonl")
TABLE = "predictions.csv"
ANNOTATED = "annotated"


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


def write_folder(answers: Iterable[Answers], folder: Path) -> int:
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
            write_image(folder / f"{name}.png", pixels)
        for name, pixels in zip(names, each.drawn, strict=False):
            (folder / ANNOTATED).mkdir(exist_ok=True)
            write_image(folder / ANNOTATED / f"{name}.png", pixels)
    whole = pd.concat(tables, ignore_index=True)
    write_table(whole, folder / TABLE)
    return len(whole)


def write_image(path: Path, pixels: np.ndarray) -> None:
    """Write (height, width[, channels]) uint8 as a PNG file."""
    grey = pixels.ndim == 3 and pixels.shape[2] == 1
    Picture.fromarray(pixels[..., 0] if grey else pixels).save(path)


def _free(stem: str, taken: set[str]) -> str:
    """Return an unused name: inputs of different folders may have the same one."""
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name)
    return name
