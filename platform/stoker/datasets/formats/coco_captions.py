"""Captions as COCO has them: a JSON file with `images` and `annotations`, or a folder with one for each part."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from stoker.datasets.folders import part_of
from stoker.datasets.formats.format_inference import caption_files
from stoker.datasets.records import Files, RawColumn, Records
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset
from stoker.job.formats import CAPTION_COLUMNS

PREFIX = "captions_"
SHAPE = '{"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": [{"image_id": 1, "caption": "a dog"}]}'


def read(path: Path, dataset: Dataset) -> Records:
    """List every image once for each of its captions.

    Raises:
        JobError: a file is not as it has to be, or an image is missing.

    """
    found = caption_files(path)
    if not found:
        raise _problem(f"there is no captions_*.json in '{path}'")
    files: list[Path] = []
    captions: list[str] = []
    parts: list[str] = []
    for file in found:
        paths, texts = _read_file(file)
        files += paths
        captions += texts
        parts += [part_of(Path(file.name.removeprefix(PREFIX)))] * len(paths)
    root = path if path.is_dir() else path.parent
    images = Files(tuple(files))
    named = all(parts) and "train" in parts
    image_column, caption_column = CAPTION_COLUMNS
    columns: dict[str, RawColumn] = {image_column: images, caption_column: pd.Series(captions, dtype=object)}
    names = tuple(str(each.relative_to(root)) if each.is_relative_to(root) else str(each) for each in files)
    return Records(columns, caption_column, np.array(parts) if named else None, names)


def _read_file(file: Path) -> tuple[list[Path], list[str]]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        images = {each["id"]: str(each["file_name"]) for each in content["images"]}
        pairs = [(images[each["image_id"]], str(each["caption"]).strip()) for each in content["annotations"]]
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeError, RecursionError) as error:
        raise _problem(f"'{file}' does not hold captions as COCO has them, such as {SHAPE}") from error
    if not pairs:
        raise _problem(f"'{file}' has no captions")
    folders = _folders(file)
    known: dict[str, Path] = {}
    for name in dict.fromkeys(name for name, _ in pairs):
        known[name] = _located(name, folders, file)
    return [known[name] for name, _ in pairs], [caption for _, caption in pairs]


def _folders(file: Path) -> list[Path]:
    """Return where the images of a file may be: beside it, in images/, or in a folder of the part such as val2017/."""
    part = file.stem.removeprefix(PREFIX)
    roots = (file.parent, file.parent.parent)
    return [folder for root in roots for folder in (root, root / "images", root / part, root / "images" / part)]


def _located(name: str, folders: list[Path], file: Path) -> Path:
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise _problem(f"'{file}' names an image outside of its folder: '{name}'")
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise _problem(f"there is no image '{name}' of '{file.name}' in {', '.join(map(str, folders[:3]))}")


def _problem(message: str) -> JobError:
    return JobError([Problem("dataset.source", message)])
