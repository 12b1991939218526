"""A folder of images, each with a text file of its name beside it, optionally below train/, val/ and test/."""

from pathlib import Path

import numpy as np
import pandas as pd

from stoker.datasets.folders import image_paths, part_folders
from stoker.datasets.formats.encodings import undecodable
from stoker.datasets.records import Files, RawColumn, Records
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset
from stoker.job.formats import CAPTION_COLUMNS

SHOWN = 3


def read(path: Path, dataset: Dataset) -> Records:
    """List every image once for each line of its text file.

    Raises:
        JobError: there are no images, or one has no text.

    """
    files: list[Path] = []
    captions: list[str] = []
    parts: list[str] = []
    missing: list[str] = []
    for part, folder in part_folders(path):
        for image in image_paths(folder):
            lines = _lines(image.with_suffix(".txt"), dataset)
            missing += [] if lines else [str(image.relative_to(path))]
            files += [image] * len(lines)
            captions += lines
            parts += [part] * len(lines)
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        cure = "write its captions, one a line, into a file of its name that ends in .txt"
        raise JobError([Problem("dataset.source", f"no text beside {', '.join(missing[:SHOWN])}{more}; {cure}")])
    if not files:
        raise JobError([Problem("dataset.source", f"no images in '{path}'")])
    images = Files(tuple(files), path)
    image_column, caption_column = CAPTION_COLUMNS
    columns: dict[str, RawColumn] = {image_column: images, caption_column: pd.Series(captions, dtype=object)}
    return Records(columns, caption_column, np.array(parts) if parts[0] else None, images.names())


def _lines(file: Path, dataset: Dataset) -> list[str]:
    if not file.is_file():
        return []
    try:
        text = file.read_text(encoding=dataset.encoding or "utf-8-sig")
    except UnicodeError as error:
        raise ValueError(undecodable(file, dataset.encoding)) from error
    return [line.strip() for line in text.splitlines() if line.strip()]
