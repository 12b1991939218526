"""Decides which image files are decoded at the start and which per step, and decodes those to fit fields on."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd
import psutil

from stoker.datasets.cache import local_path
from stoker.datasets.fields.inference import Roles, image_files
from stoker.datasets.pictures.headers import image_sizes
from stoker.datasets.pictures.images import decode_images, resize
from stoker.datasets.pictures.masks import decode_masks
from stoker.datasets.records import Files, Records
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset
from stoker.job.task import TaskRow

INSPECTED_FILES = 200
"""Files whose headers are read to estimate the decoded size of a dataset."""
CHANNELS = 3
RESIDENT_SHARE = 0.25
"""Share of the machine's memory that the decoded images of a dataset may take."""
FITTED_FILES, FITTED_BYTES = 1000, 64 << 20
"""Limits of the images that fields are fitted on, if not all are decoded: their number and decoded size."""
Loading = Literal["resident", "loaded"]


def with_files(records: Records, roles: Roles, task: TaskRow, dataset: Dataset) -> Records:
    """Return the records with columns of image or mask paths turned into files.

    Raises:
        JobError: a path names no file, or lies outside of the folder.

    """
    columns = dict(records.columns)
    names = [name for name, kind in roles.inputs.items() if kind == "image"]
    names += [roles.target] if task.target == "mask" else []
    if paths := [name for name in names if isinstance(columns[name], pd.Series)]:
        folder = local_path(dataset.source)
        folder = folder if folder.is_dir() else folder.parent
        columns |= {name: image_files(columns[name], name, folder) for name in paths}
    return replace(records, columns=columns)


def choose_loading(records: Records, roles: Roles, dataset: Dataset) -> Loading:
    """Return how the files of a dataset are loaded, by their decoded size.

    Raises:
        JobError: the images differ in size, and the job sets none.

    """
    files = [each for each in _images_and_masks(records, roles).values() if isinstance(each, Files)]
    if dataset.loading != "auto" or not files:
        return "loaded" if dataset.loading == "loaded" and files else "resident"
    height, width = dataset.image.size or max(
        image_sizes(files[0].rows(np.arange(min(len(files[0]), INSPECTED_FILES)))), default=(0, 0)
    )
    needed = sum(len(each) for each in files) * height * width * CHANNELS
    return "resident" if needed <= RESIDENT_SHARE * psutil.virtual_memory().total else "loaded"


def resident(records: Records, roles: Roles, dataset: Dataset) -> Records:
    """Return the records with all images and masks decoded.

    Raises:
        JobError: a file cannot be decoded; the message names it.

    """
    columns = dict(records.columns)
    for name, column in _images_and_masks(records, roles).items():
        if isinstance(column, Files):
            decode = decode_masks if name == roles.target else decode_images
            columns[name] = replace(column, content=decode(column, dataset.image.size))
        elif name != roles.target:
            columns[name] = resize(column, dataset.image.size)
    return replace(records, columns=columns)


def fitted_records(records: Records, train: np.ndarray, roles: Roles, dataset: Dataset) -> Records:
    """Return the training records that fields are fitted on; of images not in memory, a sample is decoded.

    Raises:
        JobError: a file cannot be decoded, or images differ in size and the job sets none.

    """
    columns = dict(records.rows(train).columns)
    for name, column in _images_and_masks(records, roles).items():
        if isinstance(column, Files) and column.content is None:
            _check_one_size(column, dataset)
            if name == roles.target:
                continue  # a class of pixels may be rare: the field reads all masks
            height, width = dataset.image.size or next(iter(image_sizes(column.rows(train[:INSPECTED_FILES]))), (1, 1))
            count = max(1, min(FITTED_FILES, FITTED_BYTES // (height * width * CHANNELS)))
            some = column.rows(train[np.unique(np.linspace(0, len(train) - 1, count).astype(int))])
            columns[name] = replace(some, content=decode_images(some, dataset.image.size))
    return Records(columns, records.label)


def _check_one_size(files: Files, dataset: Dataset) -> None:
    """Check by their headers that all images have one size, unless the job sets one.

    Raises:
        JobError: they differ.

    """
    if dataset.image.size is None and len(found := sorted(set(image_sizes(files)))) > 1:
        (height, width), (other, wide) = found[0], found[-1]
        message = f"the images differ in size, from {height}x{width} to {other}x{wide}; set dataset.image.size"
        raise JobError([Problem("dataset.image.size", message)])


def _images_and_masks(records: Records, roles: Roles) -> dict[str, Files | np.ndarray]:
    names = [name for name, kind in roles.inputs.items() if kind == "image"]
    names += [roles.target] if roles.target else []
    columns = {name: records.columns[name] for name in names}
    return {name: column for name, column in columns.items() if not isinstance(column, pd.Series)}
