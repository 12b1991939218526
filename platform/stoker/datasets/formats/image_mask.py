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
        JobError: there are no images, an image or a mask is missing, or their sizes differ.

    """
    images, masks, parts = [], [], []
    for part, folder in part_folders_of(path):
        by_name = {_name_in(folder / MASKS, file): file for file in image_paths(folder / MASKS)}
        found = image_paths(folder / IMAGES)
        if missing := [file for file in found if _name_in(folder / IMAGES, file) not in by_name]:
            found_none = f"no mask in '{folder / MASKS}' for {_shown(missing, path)}"
            raise _problem(f"{found_none}; a mask has the name of its image")
        known = {_name_in(folder / IMAGES, file) for file in found}
        if alone := [file for name, file in by_name.items() if name not in known]:
            raise _problem(f"no image in '{folder / IMAGES}' for {_shown(alone, path)}; add it, or remove the mask")
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


def _shown(files: list[Path], root: Path) -> str:
    more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    return ", ".join(str(file.relative_to(root)) for file in files[:SHOWN]) + more


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
        sizes_of = f"{other} is {mask_height}x{mask_width}, its image {name} is {height}x{width}"
        raise _problem(f"{sizes_of}; make the mask again, in the size of its image")


def _problem(message: str) -> JobError:
    return JobError([Problem("dataset.source", message)])
