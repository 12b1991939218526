"""A folder of class folders of pictures, perhaps below train/, val/ and test/."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image as Picture
from PIL import UnidentifiedImageError

from stoker.datasets.folders import part_folders, picture_files, visible_folders
from stoker.datasets.samples import Pictures
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset

GREY = frozenset({"1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N", "F"})
"""Pillow's modes without colour."""
THREADS = 8


def read(path: Path, dataset: Dataset) -> Pictures:
    """Decode every picture; the class is the name of the folder it lies in.

    Raises:
        JobError: pictures that do not decode, or sizes that differ without `dataset.image.size`.

    """
    files, parts = [], []
    for part, folder in part_folders(path):
        for class_folder in visible_folders(folder):
            found = picture_files(class_folder)
            files += found
            parts += [part] * len(found)
    if not files:
        raise JobError([Problem("dataset.source", f"no pictures in the class folders of '{path}'")])
    pixels = decode(files, dataset.image.size, root=path)
    labels = np.array([_class_of(file, path, part) for file, part in zip(files, parts, strict=True)])
    names = tuple(str(file.relative_to(path)) for file in files)
    return Pictures(pixels, labels, names, np.array(parts) if parts[0] else None)


def decode(
    files: list[Path], size: tuple[int, int] | None, root: Path | None = None, channels: int | None = None
) -> np.ndarray:
    """Decode files to one array.

    Args:
        files: the pictures.
        size: height and width to resize to; None demands that all agree.
        root: folder that messages leave out of the names.
        channels: 1 for grey, 3 for colour; None takes grey if every picture is.

    Returns:
        (N, height, width, channels) uint8.

    Raises:
        JobError: a picture does not decode, or sizes differ and `size` is None.

    """
    with ThreadPoolExecutor(THREADS) as pool:
        decoded = list(pool.map(lambda file: _decode_one(file, size, channels), files))
    named = [str(file.relative_to(root)) if root else str(file) for file in files]
    broken = [f"{name} ({result})" for name, result in zip(named, decoded, strict=True) if isinstance(result, str)]
    if broken:
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        cure = "mend or remove them" if len(broken) > 1 else "mend or remove it"
        message = f"cannot read {', '.join(broken[:3])}{more}; {cure}"
        raise JobError([Problem("dataset.source", message)])
    arrays = [result for result in decoded if not isinstance(result, str)]
    channels = channels or max(array.shape[2] for array in arrays)
    sizes = Counter(array.shape[:2] for array in arrays)
    if len(sizes) > 1:
        (common, _), (other, _) = sizes.most_common(2)
        example = named[next(i for i, array in enumerate(arrays) if array.shape[:2] == other)]
        message = (
            f"the pictures differ in size: most are {common[0]}x{common[1]}, {example} is {other[0]}x{other[1]}; "
            f"set dataset.image.size, for example {min(common)}"
        )
        raise JobError([Problem("dataset.image.size", message)])
    return np.stack([np.broadcast_to(array, (*array.shape[:2], channels)) for array in arrays])


def resize(pixels: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """Resize (N, height, width, 1) uint8 pictures that are in memory already."""
    if size is None or pixels.shape[1:3] == size:
        return pixels
    height, width = size
    resized = [np.asarray(Picture.fromarray(picture[..., 0]).resize((width, height))) for picture in pixels]
    return np.stack(resized)[..., None]


def _decode_one(file: Path, size: tuple[int, int] | None, channels: int | None) -> np.ndarray | str:
    try:
        with Picture.open(file) as picture:
            grey = picture.mode in GREY if channels is None else channels == 1
            plain = _eight_bits(picture).convert("L" if grey else "RGB")
            if size is not None and plain.size != (size[1], size[0]):
                plain = plain.resize((size[1], size[0]))
            array = np.asarray(plain, np.uint8)
    except UnidentifiedImageError:
        return "not a picture"
    except Exception as error:  # a broken file makes Pillow's decoders raise almost anything
        return str(error) or type(error).__name__
    return array[..., None] if array.ndim == 2 else array


def _eight_bits(picture: Picture.Image) -> Picture.Image:
    """Keep the upper half of 16 bits; Pillow's own conversion makes all but the darkest values white."""
    if not picture.mode.startswith("I;16"):
        return picture
    return Picture.fromarray((np.asarray(picture) >> 8).astype(np.uint8))


def _class_of(file: Path, root: Path, part: str) -> str:
    """Name the first folder below the part's folder (or the root, where there are no parts)."""
    return file.relative_to(root).parts[1 if part else 0]
