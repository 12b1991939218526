"""A folder of class folders of images, or of images without classes, optionally below train/, val/ and test/."""

from pathlib import Path

import numpy as np
import pandas as pd

from stoker.datasets.folders import image_paths, part_folders, visible_folders
from stoker.datasets.records import Files, RawColumn, Records
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset


def read(path: Path, dataset: Dataset) -> Records:
    """List every image, with the name of its folder as class.

    Raises:
        JobError: there are no images.

    """
    files, parts = [], []
    for part, folder in part_folders(path):
        for class_folder in visible_folders(folder):
            found = image_paths(class_folder)
            files += found
            parts += [part] * len(found)
    if not files:
        return _unlabelled(path)
    images = Files(tuple(files), path)
    labels = [_class_of(file, path, part) for file, part in zip(files, parts, strict=True)]
    columns: dict[str, RawColumn] = {"image": images, "label": pd.Series(labels, dtype=object)}
    return Records(columns, "label", np.array(parts) if parts[0] else None, images.names())


def _unlabelled(path: Path) -> Records:
    """List the images of a folder, or of its folders train, val and test, that have no classes.

    Raises:
        JobError: there are no images.

    """
    found = [(part, file) for part, folder in part_folders(path) for file in image_paths(folder)]
    if not found:
        raise JobError([Problem("dataset.source", f"no images in '{path}', nor in folders for classes there")])
    files = Files(tuple(file for _, file in found), path)
    parts = np.array([part for part, _ in found])
    return Records({"image": files}, "", parts if parts[0] else None, files.names())


def _class_of(file: Path, root: Path, part: str) -> str:
    """Return the name of the first folder below the part's folder, or below the root without parts."""
    return file.relative_to(root).parts[1 if part else 0]
