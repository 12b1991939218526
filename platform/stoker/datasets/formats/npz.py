"""NumPy's archive of arrays: one array per column, one entry per sample."""

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from stoker.datasets.pictures.images import resize, resize_masks
from stoker.datasets.records import RawColumn, Records
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset

MASK = "mask"
LABELS = ("label", "labels", "y", "target", MASK)
PARTS = ("train", "val", "test")


def read(path: Path, dataset: Dataset) -> Records:
    """Read the arrays of a file; names such as x_train and y_test name parts (as in Keras' mnist.npz).

    Raises:
        ValueError: it is not such an archive, or its arrays differ in length.

    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (zipfile.BadZipFile, KeyError, RuntimeError, TypeError) as error:  # the last: a single array, as npy
        raise ValueError(f"not an npz archive ({error})") from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.ndim == 0:
            raise ValueError(f"'{name}' in it is not an array with an entry for each sample")
    arrays, parts = _parts(arrays)
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError("its arrays differ in length: " + ", ".join(f"{k} {n}" for k, n in lengths.items()))
    columns: dict[str, RawColumn] = {}
    for name, array in arrays.items():
        columns |= _columns(name, array, dataset)
    label = dataset.columns.label or next((name for name in LABELS if name in columns), "")
    return Records(columns, label, parts)


def _columns(name: str, array: np.ndarray, dataset: Dataset) -> dict[str, RawColumn]:
    if array.ndim == 1:
        return {name: pd.Series(array)}
    if array.ndim == 2 and name != MASK:
        return {f"{name}{place}": pd.Series(array[:, place]) for place in range(array.shape[1])}
    if array.ndim not in (3, 4) or array.dtype != np.uint8 or 0 in array.shape[1:]:
        shape = "x".join(map(str, array.shape))
        message = f"array '{name}' is {shape} of {array.dtype}; images are uint8 (N, height, width[, channels])"
        raise JobError([Problem("dataset.source", message)])
    if name == MASK:
        if array.ndim == 4 and array.shape[3] > 1:
            message = f"array '{name}' has {array.shape[3]} channels; a mask holds one class value a pixel"
            raise JobError([Problem("dataset.source", message)])
        return {name: resize_masks(array[..., 0] if array.ndim == 4 else array, dataset.image.size)}
    return {name: resize(array[..., None] if array.ndim == 3 else array, dataset.image.size)}


def _parts(arrays: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Return the arrays with x_train, x_test and the like concatenated, and the part of each sample."""
    split = {name: name.rpartition("_") for name in arrays}
    if not all(part in PARTS for _, _, part in split.values()):
        return arrays, None
    names = list(dict.fromkeys(stem for stem, _, _ in split.values()))
    there = [part for part in PARTS if f"{names[0]}_{part}" in arrays]
    if any(f"{name}_{part}" not in arrays for name in names for part in there):
        raise ValueError(f"not every array has the parts {', '.join(there)}")
    joined = {name: np.concatenate([arrays[f"{name}_{part}"] for part in there]) for name in names}
    return joined, np.repeat(there, [len(arrays[f"{names[0]}_{part}"]) for part in there])
