"""The IDX format of MNIST: a file of pictures and a file of labels, plain or gzip."""

import gzip
import math
from pathlib import Path

import numpy as np

from stoker.datasets.formats.image_folder import resize
from stoker.datasets.samples import Pictures
from stoker.job.dataset import Dataset

UINT8 = 0x08
PREFIXES = {"train": "train", "t10k": "test", "test": "test", "val": "val"}
"""What a file's name begins with, and the part it holds."""


def read(path: Path, dataset: Dataset) -> Pictures:
    """Read one file of pictures with its labels, or all of a folder.

    Raises:
        ValueError: a file is cut short, is of another type, or has no partner.

    """
    files = picture_files(path)
    pixels, labels, parts = [], [], []
    for images in files:
        partner = images.with_name(images.name.replace("images", "labels").replace("idx3", "idx1"))
        if not partner.exists():
            raise ValueError(f"the labels '{partner.name}' are missing beside it")
        pixels.append(resize(_array(images, 3)[..., None], dataset.image.size))
        labels.append(_array(partner, 1).astype(str))
        if len(labels[-1]) != len(pixels[-1]):
            raise ValueError(f"{len(pixels[-1])} pictures, but {len(labels[-1])} labels in '{partner.name}'")
        parts += [PREFIXES.get(images.name.split("-")[0], "")] * len(labels[-1])
    split = np.array(parts) if len(files) > 1 and all(parts) else None
    return Pictures(np.concatenate(pixels), np.concatenate(labels), _names(path, len(parts)), split)


def read_without_labels(path: Path, size: tuple[int, int] | None) -> Pictures:
    """Read pictures alone.

    Raises:
        ValueError: a file is cut short or of another type.

    """
    pixels = np.concatenate([resize(_array(images, 3)[..., None], size) for images in picture_files(path)])
    return Pictures(pixels, None, _names(path, len(pixels)))


def picture_files(path: Path) -> list[Path]:
    """List the files of pictures that a path means.

    Raises:
        ValueError: a folder without any.

    """
    files = sorted(path.glob("*images*idx3*")) if path.is_dir() else [path]
    if not files:
        raise ValueError("no file named *images-idx3-ubyte(.gz) in it")
    return files


def _names(path: Path, count: int) -> tuple[str, ...]:
    return tuple(f"{path.name}[{number}]" for number in range(count))


def _array(path: Path, dimensions: int) -> np.ndarray:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != UINT8:
        raise ValueError(f"'{path.name}' is not an IDX file of bytes")
    if content[3] != dimensions:
        raise ValueError(f"'{path.name}' has {content[3]} dimensions; grey pictures have 3, labels 1")
    begin = 4 + 4 * dimensions
    shape = [int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions)]
    announced, there = math.prod(shape), len(content) - begin
    if there != announced:
        raise ValueError(f"'{path.name}' is cut short: {announced} values announced, {max(there, 0)} there")
    return np.frombuffer(content, np.uint8, offset=begin).reshape(shape)
