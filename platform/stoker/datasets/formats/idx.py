"""The IDX format of MNIST: a file of images and a file of labels, plain or gzip."""

import gzip
import math
from pathlib import Path

import numpy as np
import pandas as pd

from stoker.datasets.pictures.images import resize
from stoker.datasets.records import RawColumn, Records
from stoker.job.dataset import Dataset

UINT8 = 0x08
PREFIXES = {"train": "train", "t10k": "test", "test": "test", "val": "val"}
"""Parts by the prefix of a file's name."""


def read(path: Path, dataset: Dataset) -> Records:
    """Read one image file with its labels, or all of a folder; labels are optional.

    Raises:
        ValueError: a file is truncated or of another type, or only some files have labels.

    """
    files = image_files(path)
    pixels: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    parts: list[str] = []
    for images in files:
        pixels.append(resize(_array(images, 3)[..., None], dataset.image.size))
        parts += [PREFIXES.get(images.name.split("-")[0], "")] * len(pixels[-1])
        partner = labels_of(images)
        if not partner.exists():
            continue
        labels.append(_array(partner, 1).astype(str))
        if len(labels[-1]) != len(pixels[-1]):
            raise ValueError(f"{len(pixels[-1])} images, but {len(labels[-1])} labels in '{partner.name}'")
    columns: dict[str, RawColumn] = {"image": np.concatenate(pixels)}
    if labels and len(labels) < len(files):
        missing = next(partner.name for partner in map(labels_of, files) if not partner.exists())
        raise ValueError(f"the labels '{missing}' are missing in its folder")
    if labels:
        columns["label"] = pd.Series(np.concatenate(labels), dtype=object)
    split = np.array(parts) if len(files) > 1 and all(parts) else None
    names = tuple(f"{path.name}[{number}]" for number in range(len(parts)))
    return Records(columns, "label" if labels else "", split, names)


def labels_of(images: Path) -> Path:
    """Return the label file of an image file."""
    return images.with_name(images.name.replace("images", "labels").replace("idx3", "idx1"))


def image_files(path: Path) -> list[Path]:
    """List the image files of a path: the file itself, or those of the folder.

    Raises:
        ValueError: the folder has none.

    """
    files = sorted(path.glob("*images*idx3*")) if path.is_dir() else [path]
    if not files:
        raise ValueError("no file named *images-idx3-ubyte(.gz) in it")
    return files


def _array(path: Path, dimensions: int) -> np.ndarray:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != UINT8:
        raise ValueError(f"'{path.name}' is not an IDX file of bytes")
    if content[3] != dimensions:
        raise ValueError(f"'{path.name}' has {content[3]} dimensions; grey images have 3, labels 1")
    begin = 4 + 4 * dimensions
    shape = [int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions)]
    announced, there = math.prod(shape), len(content) - begin
    if there != announced:
        raise ValueError(f"'{path.name}' is truncated: {announced} values declared, {max(there, 0)} found")
    return np.frombuffer(content, np.uint8, offset=begin).reshape(shape)
