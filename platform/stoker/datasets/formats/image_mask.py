"""Folders images/ and masks/ with files of the same names, optionally below train/, val/ and test/."""

from pathlib import Path

import numpy as np
from PIL import Image as Picture

from stoker.datasets.folders import image_paths, part_folders
from stoker.datasets.formats.format_inference import IMAGES, MASKS
from stoker.datasets.records import Files, RawColumn, Records
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset

SHOWN = 3


def read(path: Path, dataset: Dataset) -> Records:
    """List every image with its mask.

    Raises:
        JobError: there are no images, a mask is missing, or its size differs from its image.

    """
    images, masks, parts = [], [], []
    for part, folder in part_folders_of(path):
        by_name = {_name_in(folder / MASKS, file): file for file in image_paths(folder / MASKS)}
        found = image_paths(folder / IMAGES)
        if missing := [file for file in found if _name_in(folder / IMAGES, file) not in by_name]:
            more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
            names = ", ".join(str(file.relative_to(path)) for file in missing[:SHOWN])
            raise _problem(f"no mask in '{folder / MASKS}' for {names}{more}; a mask has the name of its image")
        images += found
        masks += [by_name[_name_in(folder / IMAGES, file)] for file in found]
        parts += [part] * len(found)
    if not images:
        raise _problem(f"no images in '{path / IMAGES}'")
    for image, mask in zip(images, masks, strict=True):
        _check_size(image, mask, path)
    files = Files(tuple(images), path)
    columns: dict[str, RawColumn] = {"image": files, "mask": Files(tuple(masks), path)}
    return Records(columns, "mask", np.array(parts) if parts[0] else None, files.names())


def _name_in(folder: Path, file: Path) -> Path:
    """Return a file's path in its folder without the suffix, in which images and masks may differ."""
    return file.relative_to(folder).with_suffix("")


def part_folders_of(path: Path) -> list[tuple[str, Path]]:
    """Return the folders that hold images/ and masks/, with their parts."""
    return [("", path)] if (path / IMAGES).is_dir() else part_folders(path)


def _check_size(image: Path, mask: Path, root: Path) -> None:
    """Check by their headers that image and mask have one size; unreadable files are reported when decoded."""
    try:
        with Picture.open(image) as first, Picture.open(mask) as second:
            sizes = first.size, second.size
    except Exception:  # decoding reports the file and the reason
        return
    if sizes[0] != sizes[1]:
        (width, height), (mask_width, mask_height) = sizes
        name, other = image.relative_to(root), mask.relative_to(root)
        raise _problem(f"{other} is {mask_height}x{mask_width}, its image {name} is {height}x{width}")


def _problem(message: str) -> JobError:
    return JobError([Problem("dataset.source", message)])
