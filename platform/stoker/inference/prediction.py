"""Predictions for whatever `dataset.source` takes, without the label."""

from glob import glob, has_magic
from pathlib import Path

import numpy as np
import pandas as pd

from stoker.datasets.cache import local_path
from stoker.datasets.encoders import ImageEncoder
from stoker.datasets.folders import picture_files
from stoker.datasets.formats import idx, image_folder
from stoker.datasets.inspection import infer_format
from stoker.datasets.loading import read_source
from stoker.datasets.samples import Pictures
from stoker.datasets.sources.local import read_as
from stoker.datasets.sources.schemes import is_remote
from stoker.errors import JobError, NotFound, Problem
from stoker.inference.model import Model
from stoker.job.dataset import BUILTIN, IMAGE_SUFFIXES, Columns, Format


def predict(model: Model, source: str, format_name: Format | None = None) -> pd.DataFrame:
    """Predict a file, a folder or glob of pictures, or a built-in dataset.

    Returns:
        The task's predictions; before them a column `input` that names the picture, or behind them all columns of the
        table.

    Raises:
        NotFound: nothing is there.
        JobError: it is not what the model takes.

    """
    check_there(source)
    encoder = model.encoders.input
    if isinstance(encoder, ImageEncoder) and source not in BUILTIN:
        names, pixels = _pictures(source, format_name, encoder)
        table = model.predict(pixels)
        table.insert(0, "input", names)
        return table
    dataset = model.job.dataset.model_copy(update={"source": source, "format": format_name, "columns": Columns()})
    raw, _ = read_source(dataset)
    if isinstance(raw, Pictures):
        table = model.predict(raw.pixels)
        table.insert(0, "input", list(raw.names))
        return table
    predictions = model.predict(raw.frame)
    clashing = {name: f"input/{name}" for name in raw.frame.columns if name in predictions.columns}
    return pd.concat([predictions, raw.frame.rename(columns=clashing)], axis=1)


def check_there(source: str) -> None:
    """Check that a source names something.

    Raises:
        NotFound: there is nothing.

    """
    if source in BUILTIN or is_remote(source) or Path(source).expanduser().exists():
        return
    if not has_magic(source):
        raise NotFound(f"no file or folder '{source}'")
    if not glob(source, recursive=True):  # noqa: PTH207  # Path.glob takes no absolute pattern
        raise NotFound(f"no file matches '{source}'")


def _pictures(source: str, format_name: Format | None, encoder: ImageEncoder) -> tuple[list[str], np.ndarray]:
    """Read the pictures that a path or glob names, in the model's size, with their names."""
    size = (encoder.height, encoder.width)
    if is_remote(source):
        path = local_path(source)
        root = path if path.is_dir() else path.parent
        names, pixels = _pictures(str(path), format_name, encoder)
        return [name.removeprefix(f"{root}/") for name in names], pixels
    path = Path(source).expanduser()
    if path.exists() and "idx" in (format_name, infer_format(path)):
        pictures = read_as(source, lambda: idx.read_without_labels(path, size))
        return list(pictures.names), pictures.pixels
    if path.is_dir():
        files = picture_files(path)
    else:
        found = [path] if path.exists() else sorted(map(Path, glob(source, recursive=True)))  # noqa: PTH207  # as above
        files = [file for file in found if file.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        raise JobError([Problem("", f"no pictures in '{source}'")])
    return list(map(str, files)), image_folder.decode(files, size, channels=encoder.channels)
