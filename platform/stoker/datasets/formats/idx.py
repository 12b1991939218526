"""The IDX format of MNIST: a file of pictures and a file of labels, plain or gzip."""

import gzip
import math
from pathlib import Path

import numpy as np

from stoker.datasets.formats.image_folder import resize
from stoker.datasets.samples import Pictures
from stoker.spec.dataset import Dataset

UINT8 = 0x08
PREFIXES = {"train": "train", "t10k": "test", "test": "test", "val": "val"}
"""What a file's name begins with, and the part it holds."""


def read(path: Path, dataset: Dataset) -> Pictures:
    """Read one file of pictures with its labels, or all of a folder.

    Raises:
        ValueError: a file is cut short, is of another type, or has no partner.

    """
    files = sorted(path.glob("*images*idx3*")) if path.is_dir() else [path]
    if not files:
        raise ValueError("no file named *images-idx3-ubyte(.gz) in it")
    pixels, labels, parts = [], [], []
    for images in files:
        partner = images.with_name(images.name.replace("images", "labels").replace("idx3", "idx1"))
        if not partner.exists():
            raise ValueError(f"the labels '{partner.name}' are missing beside it")
        pixels.append(resize(_array(images)[..., None], dataset.image.size))
        labels.append(_array(partner).astype(str))
        if len(labels[-1]) != len(pixels[-1]):
            raise ValueError(f"{len(pixels[-1])} pictures, but {len(labels[-1])} labels in '{partner.name}'")
        part = PREFIXES.get(images.name.split("-")[0], "") if len(files) > 1 else ""
        parts.append(np.full(len(labels[-1]), part))
    total = sum(map(len, labels))
    split = np.concatenate(parts) if all(part[0] for part in parts if len(part)) and len(files) > 1 else None
    names = tuple(f"{path.name}[{number}]" for number in range(total))
    return Pictures(np.concatenate(pixels), np.concatenate(labels), names, split)


def _array(path: Path) -> np.ndarray:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != UINT8:
        raise ValueError(f"'{path.name}' is not an IDX file of bytes")
    dimensions = content[3]
    shape = [int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions)]
    if len(content) != 4 + 4 * dimensions + math.prod(shape):
        raise ValueError(f"'{path.name}' is cut short: {math.prod(shape)} values announced")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
